// Improves a known solution locally: each node in turn takes the choice that is cheapest while all other nodes keep
// theirs. This repeats until no node changes, or a fixed number of times.
//
// Uses: gives a start to a solver that may run out of time. The result is a local optimum at best.
#pragma once

#include "planner/intra_op/problem.h"

namespace alpa::planner::intra_op {

// Returns choices that cost no more than `start` and that fit into memory if `start` fits. `start` may be infeasible.
std::vector<int> Descend(const Problem& problem, std::vector<int> start);

// For a problem that Tied or Presolved made from another problem. Returns the choices, by node, that agree with most of
// `before`, which are choices of that other problem.
std::vector<int> NearestTo(const Problem& problem, const std::vector<int>& before);

}  // namespace alpa::planner::intra_op
