// Like parts of a program decide alike: the layers of a transformer share their variables.
//
// Model:  colour refinement (Weisfeiler and Leman). Nodes start in one class where their choices are the same to the last number;
//         then, `radius` times, nodes are told apart whose operands come from, or whose results go to, nodes of different classes.
//         With the radius of a few ops the middle layers of a deep model fall together, the first and the last do not.
// Limits: a restriction, not a presolve: with ties the best is the best among those that treat like nodes alike. Two weights that are
//         alike as far as the radius sees are cut alike.
#pragma once

#include "planner/intra_op/problem.h"

namespace alpa::planner::intra_op {

Problem Tied(const Problem& problem, int radius);

}  // namespace alpa::planner::intra_op
