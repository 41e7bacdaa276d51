// Finds the cheapest choices of a problem, or the best choices that can be found within a time limit.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "planner/intra_op/problem.h"
#include "planner/solver/integer_program.h"

namespace alpa::planner::intra_op {

struct ProblemOptions {
  double seconds = 10;      // time limit
  // If more nodes than this have several choices, nodes that look alike are tied. Ties restrict the choices (ties.h).
  size_t tie_from = 1000;
  int tie_radius = 6;       // ties.h compares the surroundings of nodes up to this number of steps
  std::vector<int> start;   // known choices, or empty. If they are feasible, the outcome costs no more than they do
};

struct ProblemOutcome {
  Termination termination = Termination::kTimeOut;
  std::vector<int> chosen;  // one entry per node; empty if no solution was found
  Evaluation evaluation;    // the result of Evaluate for `chosen`
  double bound = 0;         // no choices cost less; with ties: no choices that respect the ties cost less
  bool tied = false;
  int open_nodes = 0;               // nodes that still have several choices after presolve
  int variables = 0, rows = 0;      // size of the integer program that the solver gets
  double seconds = 0;
};

// Errors: as Solve; kInternal if the solver's objective and Evaluate disagree.
absl::StatusOr<ProblemOutcome> SolveProblem(const Problem& problem, const ProblemOptions& options);

}  // namespace alpa::planner::intra_op
