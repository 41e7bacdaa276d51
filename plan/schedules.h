// The schedules of a pipeline by name, as plans, requests and people write them; planner/schedule says what they are.
#pragma once

#include <array>

#include "absl/strings/string_view.h"

namespace alpa::plan {

inline constexpr std::array<absl::string_view, 3> kSchedules = {"gpipe", "1f1b", "zero-bubble"};

}  // namespace alpa::plan
