// The one place that knows CBC (COIN-OR branch and cut). Use through integer_program.h, which checks what goes in and comes out.
#pragma once

#include "absl/status/statusor.h"
#include "planner/solver/integer_program.h"

namespace alpa::planner {

// REQUIRES: a sound program and options. Values are not rounded. With a start, kInfeasible says that nothing is cheaper than it.
absl::StatusOr<SolveOutcome> SolveWithCbc(const IntegerProgram& program, const SolveOptions& options);

}  // namespace alpa::planner
