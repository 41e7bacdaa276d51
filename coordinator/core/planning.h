// From an uploaded program to what workers run: import, simplify, plan, verify, lower, verify.
//
// Threads: pure functions of their arguments. They take seconds for large programs: not to be called under the core's
//          lock.
// Errors:  with a reason word: BAD_PROGRAM, UNSUPPORTED_OP, NO_FEASIBLE_PLAN, BAD_PLAN, or INTERNAL for a fault of ours.
//          Nothing is thrown, also for want of memory.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/records.h"

namespace alpa::coordinator {

// How far planning has come, for people: "priced 12 plans; ..". False: nobody waits for the plan any more.
using PlanningProgress = std::function<bool(const std::string&)>;

absl::StatusOr<Planned> PlanProgram(const PlanTask& task, absl::string_view serialized_program,
                                    const PlanningProgress& progress = {});

// OK where PlanProgram would come as far as planning.
absl::Status CheckProgram(const PlanTask& task, absl::string_view serialized_program);

}  // namespace alpa::coordinator
