// The names of the pipeline schedules, in plans, requests and flags. planner/schedule/schedule.h defines the schedules.
#pragma once

#include <array>

#include "absl/strings/string_view.h"

namespace alpa::plan {

inline constexpr std::array<absl::string_view, 3> kSchedules = {"gpipe", "1f1b", "zero-bubble"};

}  // namespace alpa::plan
