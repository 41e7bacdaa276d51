// Plan files: the Plan of proto/plan.proto in protobuf's JSON form. A plan file numbers its devices 0..n-1 within the
// job, so the plan fits any devices that a job gets.
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

// Parses a plan. Returns kInvalidArgument if the text is not a plan in JSON. The result is well-formed but not
// verified.
absl::StatusOr<proto::Plan> ParsePlanFile(absl::string_view text);
// Returns the text of a plan file, with a final newline. ParsePlanFile reads it.
std::string PlanFileText(const proto::Plan& plan);

// Returns the number of devices of all meshes together.
int64_t DeviceCount(const proto::Plan& plan);
// Returns the plan with its devices numbered 0..n-1, in the order of its meshes and of the devices in each mesh.
Plan Numbered(const Plan& plan);
// Returns the plan with devices[i] in place of device i. REQUIRES: 0 <= i < devices.size() for each device of the plan.
Plan OnDevices(const Plan& plan, const std::vector<DeviceId>& devices);

}  // namespace alpa::plan
