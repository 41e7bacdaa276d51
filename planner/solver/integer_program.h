// Solves mixed-integer linear programs within a time limit.
//
// Model:   Minimises the sum of cost x value over bounded variables. Some variables are integers. Each row demands
//          lower <= sum of coefficient x value <= upper.
// Outcome: Four outcomes count as results and not as errors: an optimal solution, a solution with a bound, proof that
//          no solution exists, and no solution within the time limit. Solve does not trust CBC: it checks CBC's values
//          against the program and computes their objective again.
// Method:  branch and cut by CBC (COIN-OR) on one thread. The same program gives the same answer, unless time runs out.
// Threads: any thread may call Solve. Programs are solved one at a time.
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
    double lower = 0, upper = 1;  // both finite
    bool integer = true;
  };
  struct Term {
    int variable = -1;
    double coefficient = 0;
  };
  struct Row {
    std::vector<Term> terms;      // each variable occurs at most once
    double lower = -kInfinity, upper = kInfinity;
  };
  std::vector<Variable> variables;
  std::vector<Row> rows;
};

struct SolveOptions {
  double seconds = 10;            // time limit, > 0
  std::vector<double> start;      // a known solution, or empty; the answer costs no more than it
};

enum class Termination {
  kOptimal,     // proven optimal within a relative gap of kOptimalGap
  kFeasible,    // time ran out: there is a solution and a bound
  kInfeasible,
  kTimeOut,     // time ran out before a solution was found
};
// Largest relative gap between objective and bound at which a solution counts as optimal.
inline constexpr double kOptimalGap = 1e-6;

struct SolveOutcome {
  Termination termination = Termination::kTimeOut;
  std::vector<double> values;     // one entry per variable, integers exact; empty without a solution
  double objective = 0;           // of `values`
  double bound = 0;               // no solution costs less; -infinity if no bound is known
  double seconds = 0;
  bool has_solution() const { return termination == Termination::kOptimal || termination == Termination::kFeasible; }
  // Returns by how much the best solution may be cheaper, relative to `objective`. Infinite without a solution.
  double gap() const;
};

// Errors: kInvalidArgument if a number is not finite or exceeds 1e15 in magnitude, a lower bound exceeds its upper
// bound, or a row names an unknown variable or one variable twice. The bounds of a row may be infinite.
absl::Status Check(const IntegerProgram& program);
// Errors: kInvalidArgument if the number of values is wrong, a value is out of bounds, an integer variable has a value
// with a fraction, or a row does not hold. The message names the variable or row.
absl::Status CheckSolution(const IntegerProgram& program, const std::vector<double>& values);
double ObjectiveOf(const IntegerProgram& program, const std::vector<double>& values);

// Returns the best solution found within the time limit, or reports that it found none (Termination).
// Errors: kInvalidArgument if the program, the time limit or the start is invalid. kInternal if the solver fails, or
// its answer breaks the program.
absl::StatusOr<SolveOutcome> Solve(const IntegerProgram& program, const SolveOptions& options);

std::string ToString(Termination termination);

}  // namespace alpa::planner
