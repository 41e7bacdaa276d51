#include "planner/job_plan.h"

#include <optional>
#include <utility>

#include "base/reason.h"
#include "base/status.h"
#include "graph/import.h"
#include "graph/simplify.h"
#include "plan/plan_file.h"
#include "plan/serialize.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "planner/request.h"

namespace alpa::planner {
namespace {

absl::Status Because(const absl::Status& status, absl::string_view word) { return WithReason(status, word); }

// Checks that the plan's input shardings are those that follow from its cuts. If the user edited the plan, the two may
// differ.
absl::Status CheckPlacement(const plan::Plan& plan, const plan::Executable& executable, const plan::Roles& roles) {
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    const plan::StagePlan& stage = plan.stages[s];
    const cluster::Mesh& mesh = plan.meshes[stage.mesh.value()];
    for (size_t p = 0; p < roles.inputs.size(); ++p) {
      std::optional<plan::Sharding> lowered;
      for (const plan::RegionPlacement& region : executable.inputs[p].regions) {
        if (region.mesh == stage.mesh) lowered = region.sharding;
      }
      const std::optional<plan::Sharding>& planned = stage.input_shardings[p];
      if (lowered == planned) continue;
      const auto text = [&](const std::optional<plan::Sharding>& sharding) {
        return sharding ? sharding->ToString(mesh) : std::string("absent");
      };
      return InvalidArgument("stage %d: the plan stores %s as %s on mesh %d, but its cuts lead to %s", s,
                             roles.inputs[p].path, text(planned), stage.mesh.value(), text(lowered));
    }
  }
  return absl::OkStatus();
}

cluster::Cluster ClusterOf(const std::vector<DeviceId>& devices) {
  cluster::Cluster cluster;
  for (DeviceId device : devices) cluster.devices.push_back({device, "", 0, "", 0});
  return cluster;
}

absl::Status CheckOwn(const plan::Plan& plan, const JobProgram& program, const cluster::Cluster& cluster) {
  return Because(Annotate(plan::Verify(plan, program.graph, program.roles, cluster),
                          "the planner's own plan does not verify; please report this"),
                 reason::kInternal);
}

}  // namespace

absl::StatusOr<JobProgram> ImportProgram(absl::string_view serialized_hlo, const proto::Roles& roles) {
  auto imported = graph::ImportHlo(serialized_hlo);
  if (!imported.ok()) {
    const bool unsupported = absl::IsUnimplemented(imported.status());
    return Because(imported.status(), unsupported ? reason::kUnsupportedOp : reason::kBadProgram);
  }
  auto read = plan::FromProto(roles);
  if (!read.ok()) return Because(read.status(), reason::kBadProgram);
  ALPA_RETURN_IF_ERROR(Because(plan::Verify(*read, *imported), reason::kBadProgram));
  return JobProgram{*std::move(imported), *std::move(read)};
}

JobProgram Simplified(const JobProgram& program) { return {graph::Simplify(program.graph), program.roles}; }

absl::StatusOr<plan::Plan> ReadGivenPlan(const proto::Plan& given, const JobProgram& simplified) {
  auto plan = plan::FromProto(given);
  if (!plan.ok()) return Because(Annotate(plan.status(), "the given plan"), reason::kBadPlan);
  std::vector<DeviceId> devices;
  for (int64_t i = 0; i < plan::DeviceCount(given); ++i) devices.push_back(DeviceId(static_cast<int32_t>(i)));
  ALPA_RETURN_IF_ERROR(
      Because(Annotate(plan::Verify(*plan, simplified.graph, simplified.roles, ClusterOf(devices)), "the given plan"),
              reason::kBadPlan));
  return plan;
}

absl::StatusOr<plan::Plan> PlanJob(const JobProgram& simplified, const proto::PlanRequest& request,
                                   const std::vector<DeviceId>& devices) {
  if (request.has_given()) {
    ALPA_ASSIGN_OR_RETURN(const plan::Plan plan, ReadGivenPlan(request.given(), simplified));
    const int64_t wanted = plan::DeviceCount(request.given());
    if (wanted > static_cast<int64_t>(devices.size())) {
      return Because(InvalidArgument("the given plan needs %d devices, but the job has %d", wanted, devices.size()),
                     reason::kNoFeasiblePlan);
    }
    return plan::OnDevices(plan, devices);
  }
  auto plan = MakePlan(simplified.graph, simplified.roles, devices, OptionsOf(request));
  if (!plan.ok()) return Because(plan.status(), reason::kNoFeasiblePlan);
  ALPA_RETURN_IF_ERROR(CheckOwn(*plan, simplified, ClusterOf(devices)));
  return plan;
}

absl::StatusOr<Searched> SearchJob(const JobProgram& simplified, const proto::PlanRequest& request,
                                   const cluster::Cluster& cluster, const SearchLimits& limits) {
  auto searched = Search(simplified.graph, simplified.roles, cluster, OptionsOf(request), limits);
  if (!searched.ok()) return Because(searched.status(), reason::kNoFeasiblePlan);
  ALPA_RETURN_IF_ERROR(CheckOwn(searched->plan, simplified, cluster));
  return searched;
}

absl::StatusOr<plan::Executable> LowerJob(const plan::Plan& plan, const JobProgram& simplified, bool given) {
  auto executable = Lower(plan, simplified.graph, simplified.roles);
  if (!executable.ok()) {
    return given ? Because(Annotate(executable.status(), "the given plan"), reason::kBadPlan)
                 : Because(executable.status(), reason::kNoFeasiblePlan);
  }
  executable->plan_fingerprint = plan::Fingerprint(plan);
  const absl::Status placed = CheckPlacement(plan, *executable, simplified.roles);
  if (!placed.ok() && given) return Because(Annotate(placed, "the given plan"), reason::kBadPlan);
  constexpr absl::string_view kOurs = "the planner's own executable does not verify; please report this";
  ALPA_RETURN_IF_ERROR(Because(Annotate(placed, kOurs), reason::kInternal));
  ALPA_RETURN_IF_ERROR(Because(Annotate(plan::Verify(*executable), kOurs), reason::kInternal));
  return executable;
}

}  // namespace alpa::planner
