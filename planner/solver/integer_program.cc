#include "planner/solver/integer_program.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "planner/solver/cbc.h"

namespace alpa::planner {

namespace {

constexpr double kLargest = 1e15;    // maximum magnitude of a number in a program
constexpr double kTolerance = 1e-6;  // tolerated error; relative to the value (bounds) or to the largest term (rows)

bool Sound(double number) { return std::isfinite(number) && std::abs(number) <= kLargest; }

}  // namespace

double SolveOutcome::gap() const {
  if (!has_solution()) return IntegerProgram::kInfinity;
  return std::max(0.0, objective - bound) / std::max(std::abs(objective), 1e-30);
}

absl::Status Check(const IntegerProgram& program) {
  for (size_t v = 0; v < program.variables.size(); ++v) {
    const IntegerProgram::Variable& variable = program.variables[v];
    if (!Sound(variable.cost)) {
      return InvalidArgument("variable %d has cost %g; expected a finite number of at most %g in magnitude", v,
                             variable.cost, kLargest);
    }
    if (!Sound(variable.lower) || !Sound(variable.upper) || variable.lower > variable.upper) {
      return InvalidArgument("variable %d has bounds %g and %g; expected lower <= upper, at most %g in magnitude", v,
                             variable.lower, variable.upper, kLargest);
    }
  }
  std::vector<size_t> seen(program.variables.size(), 0);
  for (size_t r = 0; r < program.rows.size(); ++r) {
    const IntegerProgram::Row& row = program.rows[r];
    const bool bounded = (Sound(row.lower) || row.lower == -IntegerProgram::kInfinity) &&
                         (Sound(row.upper) || row.upper == IntegerProgram::kInfinity);
    if (!bounded || row.lower > row.upper) {
      return InvalidArgument(
          "row %d has bounds %g and %g; expected lower <= upper, infinite or at most %g in magnitude", r, row.lower,
          row.upper, kLargest);
    }
    for (const IntegerProgram::Term& term : row.terms) {
      if (term.variable < 0 || term.variable >= static_cast<int>(program.variables.size())) {
        return InvalidArgument("row %d names variable %d, but there are %d variables", r, term.variable,
                               program.variables.size());
      }
      if (!Sound(term.coefficient)) {
        return InvalidArgument("row %d has coefficient %g; expected a finite number of at most %g in magnitude", r,
                               term.coefficient, kLargest);
      }
      if (seen[term.variable] == r + 1) return InvalidArgument("row %d names variable %d twice", r, term.variable);
      seen[term.variable] = r + 1;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSolution(const IntegerProgram& program, const std::vector<double>& values) {
  if (values.size() != program.variables.size()) {
    return InvalidArgument("%d values are given for %d variables", values.size(), program.variables.size());
  }
  for (size_t v = 0; v < values.size(); ++v) {
    const IntegerProgram::Variable& variable = program.variables[v];
    const double slack = kTolerance * std::max(1.0, std::abs(values[v]));
    if (!std::isfinite(values[v]) || values[v] < variable.lower - slack || values[v] > variable.upper + slack) {
      return InvalidArgument("variable %d is %g, not between %g and %g", v, values[v], variable.lower, variable.upper);
    }
    if (variable.integer && values[v] != std::round(values[v])) {
      return InvalidArgument("variable %d is %g, not an integer", v, values[v]);
    }
  }
  for (size_t r = 0; r < program.rows.size(); ++r) {
    const IntegerProgram::Row& row = program.rows[r];
    double sum = 0, largest = 1;
    for (const IntegerProgram::Term& term : row.terms) {
      const double part = term.coefficient * values[term.variable];
      sum += part;
      largest = std::max(largest, std::abs(part));
    }
    if (sum < row.lower - kTolerance * largest || sum > row.upper + kTolerance * largest) {
      return InvalidArgument("row %d sums to %g, not between %g and %g", r, sum, row.lower, row.upper);
    }
  }
  return absl::OkStatus();
}

double ObjectiveOf(const IntegerProgram& program, const std::vector<double>& values) {
  double objective = 0;
  for (size_t v = 0; v < values.size(); ++v) objective += program.variables[v].cost * values[v];
  return objective;
}

absl::StatusOr<SolveOutcome> Solve(const IntegerProgram& program, const SolveOptions& options) {
  ALPA_RETURN_IF_ERROR(Check(program));
  if (!(options.seconds > 0)) return InvalidArgument("the time limit is %g s; it must be positive", options.seconds);
  if (!options.start.empty()) {
    ALPA_RETURN_IF_ERROR(Annotate(CheckSolution(program, options.start), "the solution to start from"));
  }
  ALPA_ASSIGN_OR_RETURN(SolveOutcome outcome, SolveWithCbc(program, options));
  for (size_t v = 0; v < outcome.values.size(); ++v) {
    if (program.variables[v].integer) outcome.values[v] = std::round(outcome.values[v]);
  }
  if (outcome.has_solution()) {
    if (const absl::Status sound = CheckSolution(program, outcome.values); !sound.ok()) {
      return Internal("the solver's answer does not satisfy the program: %s", sound.message());
    }
    outcome.objective = ObjectiveOf(program, outcome.values);
  }
  // The known solution is the answer if the solver found no better one.
  if (!options.start.empty()) {
    const double known = ObjectiveOf(program, options.start);
    if (!outcome.has_solution() || known < outcome.objective) {
      const bool searched_all =
          outcome.termination == Termination::kInfeasible || outcome.termination == Termination::kOptimal;
      outcome.values = options.start;
      outcome.objective = known;
      outcome.termination = searched_all ? Termination::kOptimal : Termination::kFeasible;
      if (searched_all) outcome.bound = known;
    }
  }
  if (outcome.termination == Termination::kOptimal) {
    outcome.bound = std::min(outcome.objective, std::max(outcome.bound, outcome.objective * (1 - kOptimalGap)));
  }
  if (outcome.has_solution()) outcome.bound = std::min(outcome.bound, outcome.objective);
  return outcome;
}

std::string ToString(Termination termination) {
  switch (termination) {
    case Termination::kOptimal: return "optimal";
    case Termination::kFeasible: return "not proven optimal";
    case Termination::kInfeasible: return "infeasible";
    case Termination::kTimeOut: return "no solution in time";
  }
  return "?";
}

}  // namespace alpa::planner
