#include "plan/plan_file.h"

#include <google/protobuf/util/json_util.h>

#include "base/status.h"
#include "proto/plan.pb.h"

namespace alpa::plan {

absl::StatusOr<proto::Plan> ParsePlanFile(absl::string_view text) {
  proto::Plan plan;
  const auto status = google::protobuf::util::JsonStringToMessage(std::string(text), &plan);
  if (!status.ok()) return InvalidArgument("not a plan in JSON: %s", Excerpt(status.message().as_string()));
  if (plan.meshes().empty() || plan.stages().empty())
    return InvalidArgument("not a plan: it has no meshes, or no stages");
  return plan;
}

std::string PlanFileText(const proto::Plan& plan) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  // Conversion fails only for message types that are not linked in.
  ALPA_CHECK(google::protobuf::util::MessageToJsonString(plan, &text, options).ok());
  return text;
}

int64_t DeviceCount(const proto::Plan& plan) {
  int64_t count = 0;
  for (const proto::Mesh& mesh : plan.meshes()) count += mesh.devices_size();
  return count;
}

Plan Numbered(const Plan& plan) {
  Plan out = plan;
  int32_t next = 0;
  for (cluster::Mesh& mesh : out.meshes) {
    for (DeviceId& device : mesh.devices) device = DeviceId(next++);
  }
  return out;
}

Plan OnDevices(const Plan& plan, const std::vector<DeviceId>& devices) {
  Plan out = plan;
  for (cluster::Mesh& mesh : out.meshes) {
    for (DeviceId& device : mesh.devices) device = devices[device.value()];
  }
  return out;
}

}  // namespace alpa::plan
