#include "planner/intra_op/solve.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/clock.h"
#include "base/status.h"
#include "planner/intra_op/descent.h"
#include "planner/intra_op/linear.h"
#include "planner/intra_op/presolve.h"
#include "planner/intra_op/ties.h"

namespace alpa::planner::intra_op {

namespace {

size_t OpenNodes(const Problem& problem) {
  return std::count_if(problem.nodes.begin(), problem.nodes.end(),
                       [](const Node& node) { return node.choices.size() > 1; });
}

double SecondsSince(MonotonicTime begin) {
  return std::chrono::duration<double>(Clock::Real().Now() - begin).count();
}

}  // namespace

absl::StatusOr<ProblemOutcome> SolveProblem(const Problem& problem, const ProblemOptions& options) {
  const MonotonicTime begin = Clock::Real().Now();
  ProblemOutcome outcome;
  Problem tied = problem;
  for (size_t i = 0; i < tied.nodes.size(); ++i) {
    for (size_t c = 0; c < tied.nodes[i].choices.size(); ++c) {
      tied.nodes[i].choices[c].parts = {{static_cast<int>(i), static_cast<int>(c)}};
    }
  }
  outcome.tied = OpenNodes(problem) > options.tie_from;
  if (outcome.tied) tied = Tied(problem, options.tie_radius);
  const Problem small = Presolved(tied);
  const LinearForm linear(small);
  outcome.open_nodes = static_cast<int>(OpenNodes(small));
  outcome.variables = static_cast<int>(linear.program().variables.size());
  outcome.rows = static_cast<int>(linear.program().rows.size());
  SolveOptions solve;
  solve.seconds = std::max(0.1, options.seconds - SecondsSince(begin));
  // Translates the known choices to the smaller problem and improves them. Without known choices, improves the first
  // choice of each node. The solver starts from the improved choices if they are feasible.
  std::vector<int> known(small.nodes.size(), 0);
  if (!options.start.empty()) known = NearestTo(small, NearestTo(tied, options.start));
  known = Descend(small, std::move(known));
  const Evaluation evaluated = Evaluate(small, known);
  if (evaluated.fits && evaluated.cost() < kForbidden) solve.start = linear.ValuesOf(known);
  ALPA_ASSIGN_OR_RETURN(const SolveOutcome solved, Solve(linear.program(), solve));
  outcome.termination = solved.termination;
  outcome.bound = linear.CostOf(solved.bound);
  if (solved.has_solution()) {
    outcome.chosen = ChoicesBefore(tied, ChoicesBefore(small, linear.ChosenBy(solved.values), tied.nodes.size()),
                                   problem.nodes.size());
    outcome.evaluation = Evaluate(problem, outcome.chosen);
    const double reported = linear.CostOf(solved.objective);
    const double slack = 1e-5 * std::max(std::abs(reported), std::abs(outcome.evaluation.cost())) + 1e-12;
    if (!outcome.evaluation.fits || outcome.evaluation.cost() > reported + slack) {
      return Internal("the solver reports that its choices cost %g and fit into memory, but they cost %g%s", reported,
                      outcome.evaluation.cost(), outcome.evaluation.fits ? "" : " and do not fit");
    }
  }
  // The known choices are the answer if they are cheaper. This can happen if ties exclude them.
  if (!options.start.empty()) {
    const Evaluation known = Evaluate(problem, options.start);
    const bool possible = known.fits && known.cost() < kForbidden;
    if (possible && (outcome.chosen.empty() || known.cost() < outcome.evaluation.cost())) {
      outcome.chosen = options.start;
      outcome.evaluation = known;
      outcome.termination = Termination::kFeasible;
    }
  }
  if (!outcome.chosen.empty()) outcome.bound = std::min(outcome.bound, outcome.evaluation.cost());
  outcome.seconds = SecondsSince(begin);
  return outcome;
}

}  // namespace alpa::planner::intra_op
