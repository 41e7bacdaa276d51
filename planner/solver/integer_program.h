// Mixed integer linear programs, and what a solver makes of one within a time limit.
//
// Model:   minimise sum of cost x value over bounded variables, some of them integer, subject to rows: lower <= sum of
//          coefficient x value <= upper.
// Outcome: optimal, a solution with a bound, infeasible, and nothing found in time are results. The solver's answer is checked
//          against the program here, and its objective summed up again: nothing that a solver says is taken on trust.
// Method:  branch and cut by CBC (COIN-OR), single-threaded; the same program gives the same answer, unless the time limit cuts in.
// Threads: Solve may be called from anywhere; one program is solved at a time.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace alpa::planner {

struct IntegerProgram {
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  struct Variable {
    double cost = 0;
    double lower = 0, upper = 1;  // finite
    bool integer = true;
  };
  struct Term {
    int variable = -1;
    double coefficient = 0;
  };
  struct Row {
    std::vector<Term> terms;      // each variable once
    double lower = -kInfinity, upper = kInfinity;
  };
  std::vector<Variable> variables;
  std::vector<Row> rows;
};

struct SolveOptions {
  double seconds = 10;            // > 0
  std::vector<double> start;      // a solution that is known, or empty: the answer is no worse
};

enum class Termination {
  kOptimal,     // within a relative gap of kOptimalGap
  kFeasible,    // time was up: a solution, and a bound
  kInfeasible,
  kTimeOut,     // time was up before there was a solution
};
inline constexpr double kOptimalGap = 1e-6;

struct SolveOutcome {
  Termination termination = Termination::kTimeOut;
  std::vector<double> values;     // by variable, integers exact; empty where there is no solution (or no variable)
  double objective = 0;           // of `values`
  double bound = 0;               // no solution is cheaper; -infinity where nothing is known
  double seconds = 0;
  bool has_solution() const { return termination == Termination::kOptimal || termination == Termination::kFeasible; }
  // How much cheaper the best solution might be, of `objective`.
  double gap() const;
};

// OK, or kInvalidArgument: numbers that are not finite or too large (1e15), bounds that cross, a variable that does not exist.
absl::Status Check(const IntegerProgram& program);
// OK, or which bound or row `values` breaks, or which integer is none.
absl::Status CheckSolution(const IntegerProgram& program, const std::vector<double>& values);
double ObjectiveOf(const IntegerProgram& program, const std::vector<double>& values);

// Errors: kInvalidArgument where program, limit or start are not sound; kInternal where the solver's answer breaks the program.
absl::StatusOr<SolveOutcome> Solve(const IntegerProgram& program, const SolveOptions& options);

std::string ToString(Termination termination);

}  // namespace alpa::planner
