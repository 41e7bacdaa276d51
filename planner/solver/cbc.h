// The only file that uses CBC (COIN-OR branch and cut), with cbc.cc. Call Solve (integer_program.h) instead: it checks
// the program and the answer.
#pragma once

#include "absl/status/statusor.h"
#include "planner/solver/integer_program.h"

namespace alpa::planner {

// Returns unrounded values. If options.start is given, only cheaper solutions count: kInfeasible then means that there
// is none. REQUIRES: Check(program) is OK, and the options are valid.
absl::StatusOr<SolveOutcome> SolveWithCbc(const IntegerProgram& program, const SolveOptions& options);

}  // namespace alpa::planner
