// A better solution near a known one: each node in turn takes the choice that is cheapest as the others stand, until none changes.
//
// Uses: something to start from, for a solver that may run out of time. It gives a local optimum, no more.
#pragma once

#include "planner/intra_op/problem.h"

namespace alpa::planner::intra_op {

// `start`: choices that need not be possible. Returns choices that cost no more and, where `start` fits, fit.
std::vector<int> Descend(const Problem& problem, std::vector<int> start);

// For a problem made from another by ties or presolve: for each node the choice that has most of `before`, choices of the other.
std::vector<int> NearestTo(const Problem& problem, const std::vector<int>& before);

}  // namespace alpa::planner::intra_op
