// The interface between the coordinator and its planner.
//
// Threads: the coordinator calls the functions without its lock, from several threads at the same time.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/records.h"

namespace alpa::coordinator {

// Receives the progress of planning as human-readable text: "planning: 12 plans evaluated, ...". Returns false if the
// answer is no longer wanted. An empty text reports no progress. With it, the caller only asks whether the answer is
// still wanted.
using PlanningProgress = std::function<bool(const std::string&)>;

// Both functions call `progress` from time to time. If `progress` returns false, the function soon returns an error,
// which the coordinator ignores.
struct Planner {
  // Plans a task with devices.
  std::function<absl::StatusOr<Planned>(const PlanTask& task, absl::string_view program,
                                        const PlanningProgress& progress)>
      plan;
  // Checks the program of a task without devices.
  std::function<absl::Status(const PlanTask& task, absl::string_view program, const PlanningProgress& progress)> check;
};

}  // namespace alpa::coordinator
