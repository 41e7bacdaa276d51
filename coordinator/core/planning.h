// Turns an uploaded program into a plan and an executable. The phases are: import, simplify, plan, verify, lower,
// verify.
//
// Threads: thread-safe: no shared state. The functions take seconds for large programs. The coordinator runs them in a
//          separate process (planner_process/), because a bug in them may end the process or use all memory.
// Errors:  with a reason word: BAD_PROGRAM, UNSUPPORTED_OP, NO_FEASIBLE_PLAN, BAD_PLAN, or INTERNAL for a bug of ours.
//          kCancelled without a reason word if `progress` returned false. The functions do not throw on
//          the calling thread.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/planner.h"
#include "coordinator/core/records.h"

namespace alpa::coordinator {

absl::StatusOr<Planned> PlanProgram(const PlanTask& task, absl::string_view serialized_program,
                                    const PlanningProgress& progress = {});

// Checks a program without planning it. Returns OK if the program can be imported. If the task has a given plan, the
// program must also fit this plan.
absl::Status CheckProgram(const PlanTask& task, absl::string_view serialized_program);

}  // namespace alpa::coordinator
