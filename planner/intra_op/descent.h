// Improves a known solution of a problem (problem.h) locally. One node after the other takes the choice that is
// cheapest while all other nodes keep their choices. The pass over all nodes repeats until no node changes, up to a
// fixed number of times.
//
// Use: provides a starting solution for a solver that may run out of time. The result is a local optimum at best.
#pragma once

#include "planner/intra_op/problem.h"

namespace alpa::planner::intra_op {

// Returns choices that cost no more than `start` and that fit into memory if `start` fits. `start` may be infeasible.
std::vector<int> Descend(const Problem& problem, std::vector<int> start);

// For each node, returns the choice of which the largest number of parts (Choice::parts) are in `before`. REQUIRES:
// Tied or Presolved made `problem` from another problem, and `before` are choices of that problem.
std::vector<int> NearestTo(const Problem& problem, const std::vector<int>& before);

}  // namespace alpa::planner::intra_op
