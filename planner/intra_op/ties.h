// Makes similar nodes take the same choice, so that the layers of a transformer share their variables.
//
// Model:  Colour refinement (Weisfeiler and Leman). Two nodes start in the same class if the costs and states of their
//         choices are equal. Then the classes are refined `radius` times: two nodes are separated if their operands
//         come from, or their results go to, nodes of different classes. With a radius of a few ops, the middle layers
//         of a deep model share their classes, and the first and the last layers do not.
// Limits: Unlike presolve, ties restrict the problem. The optimum with ties is the best among the solutions that treat
//         similar nodes alike. Two weights that look the same within the radius are cut in the same way.
#pragma once

#include "planner/intra_op/problem.h"

namespace alpa::planner::intra_op {

// Returns a problem with one node per class.
Problem Tied(const Problem& problem, int radius);

}  // namespace alpa::planner::intra_op
