// The cheapest choices of a problem, or the best found in time.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "planner/intra_op/problem.h"
#include "planner/solver/integer_program.h"

namespace alpa::planner::intra_op {

struct ProblemOptions {
  double seconds = 10;
  // Like nodes are tied where there are more than so many: a restriction (ties.h).
  size_t tie_from = 1000;
  int tie_radius = 6;
  std::vector<int> start;       // choices that are known, or empty: the answer is no worse where these are possible
};

struct ProblemOutcome {
  Termination termination = Termination::kTimeOut;
  std::vector<int> chosen;      // by node; empty where there is no solution
  Evaluation evaluation;        // of these, by the definition
  double bound = 0;             // no choices are cheaper; with ties, none that respect them
  bool tied = false;
  int open_nodes = 0, variables = 0, rows = 0;  // what the solver saw
  double seconds = 0;
};

// Errors: as Solve; kInternal where the solver's objective is not what the definition says.
absl::StatusOr<ProblemOutcome> SolveProblem(const Problem& problem, const ProblemOptions& options);

}  // namespace alpa::planner::intra_op
