// Solves an integer program with CBC (COIN-OR branch and cut). No file other than cbc.cc uses CBC. Callers use Solve
// (integer_program.h), which checks the program and the answer.
#pragma once

#include "absl/status/statusor.h"
#include "planner/solver/integer_program.h"

namespace alpa::planner {

// Returns unrounded values. If `options.start` is given, only solutions that are cheaper than it count. In this case,
// kInfeasible means that no solution is cheaper. REQUIRES: Check(program) is OK, and the options are valid.
absl::StatusOr<SolveOutcome> SolveWithCbc(const IntegerProgram& program, const SolveOptions& options);

}  // namespace alpa::planner
