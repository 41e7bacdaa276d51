// Turns an uploaded program into a plan and an executable. The phases are: import, simplify, plan, verify, lower,
// verify.
//
// Threads: thread-safe: no shared state. The functions take seconds for large programs, so the caller must not hold the
//          core's lock.
// Errors:  with a reason word: BAD_PROGRAM, UNSUPPORTED_OP, NO_FEASIBLE_PLAN, BAD_PLAN, or INTERNAL for a bug of ours.
//          kCancelled without a reason word if `progress` returned false. The functions never throw, not even if memory
//          runs out.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/records.h"

namespace alpa::coordinator {

// Receives the progress of planning as human-readable text: "planning: 12 plans evaluated, ...". Returns false if the
// plan is no longer wanted.
using PlanningProgress = std::function<bool(const std::string&)>;

absl::StatusOr<Planned> PlanProgram(const PlanTask& task, absl::string_view serialized_program,
                                    const PlanningProgress& progress = {});

// Checks a program without planning it: OK if the program can be imported and fits a given plan, if there is one.
absl::Status CheckProgram(const PlanTask& task, absl::string_view serialized_program);

}  // namespace alpa::coordinator
