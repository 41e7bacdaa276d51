// Plans as files: the Plan of proto/plan.proto in protobuf's JSON form. The devices in it are numbered 0..n-1 within
// the job, so that it fits whichever devices a job gets.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "plan/plan.h"

namespace alpa::proto {
class Plan;
}

namespace alpa::plan {

// kInvalidArgument saying where the text is no plan. What comes out is well-formed, not yet Verify'd.
absl::StatusOr<proto::Plan> ParsePlanFile(absl::string_view text);
// What ParsePlanFile reads, with a final newline.
std::string PlanFileText(const proto::Plan& plan);

// How many devices the meshes have together.
int64_t DeviceCount(const proto::Plan& plan);
// The same plan with each device's place in its meshes, one behind the other, for its number.
Plan Numbered(const Plan& plan);
// The same plan with devices[i] in place of i. REQUIRES: 0 <= i < devices.size() for each of its devices.
Plan OnDevices(const Plan& plan, const std::vector<DeviceId>& devices);

}  // namespace alpa::plan
