// From an uploaded program to what workers run: import, simplify, plan, verify, lower, verify.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/core.h"

namespace alpa::coordinator {

// Errors carry a reason word: BAD_PROGRAM, UNSUPPORTED_OP, NO_FEASIBLE_PLAN. Takes seconds for large programs: not to be
// called under the core's lock.
absl::StatusOr<Planned> PlanProgram(const PlanTask& task, absl::string_view serialized_program);

}  // namespace alpa::coordinator
