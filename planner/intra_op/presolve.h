// Makes a problem smaller without changing its optimal cost. An optimum of the smaller problem is an optimum of the
// original problem.
//
// Model:  Two steps alternate until nothing changes. Both steps take memory into account.
//         1. Drop a choice if another choice of its node can replace it at no extra cost, whatever the other nodes
//            choose. The two choices are compared at every site (value) that the node makes or reads, for all states
//            that the other nodes may make or want there.
//         2. Merge the producer of a value into its reader if there is only one reader. The pair becomes one node. Its
//            choices are the cheapest ways to each combination of operand and result states. Elementwise ops,
//            reshapes and similar ops take the states of their operands, so a chain of them merges into the op at its
//            start or end.
// Limits: Two nodes are not merged if the merged node would get too many choices. The choices of a node are not
//         compared if one of its sites has too many states. These limits do not change the optimal cost.
#pragma once

#include "planner/intra_op/problem.h"

namespace alpa::planner::intra_op {

Problem Presolved(const Problem& problem);

}  // namespace alpa::planner::intra_op
