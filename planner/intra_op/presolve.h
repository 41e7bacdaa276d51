// The same problem, smaller: an optimum of what is left is one of the whole.
//
// Model:  1. A choice is dropped that another of its node can replace without any cost, whatever all others do: compared at every
//            site that the node makes or reads, over all states that others may make or want there.
//         2. A value with a single reader joins its maker to it: the pair is one node, whose choices are the cheapest ways to
//            each combination of what goes in and what comes out. Chains of elementwise ops, reshapes and the like, which follow
//            what they read, so end in the ops that they lead from or to.
//         Both in turn until nothing changes. Memory counts in both.
// Limits: none in value. Nodes that would get too many choices are not joined, sites with too many states are not compared.
#pragma once

#include "planner/intra_op/problem.h"

namespace alpa::planner::intra_op {

Problem Presolved(const Problem& problem);

}  // namespace alpa::planner::intra_op
