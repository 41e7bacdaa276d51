#include "coordinator/core/planning.h"

#include "base/status.h"
#include "coordinator/core/errors.h"
#include "graph/import.h"
#include "graph/simplify.h"
#include "plan/serialize.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "proto/plan.pb.h"

namespace alpa::coordinator {
namespace {

absl::Status Because(const absl::Status& status, const std::string& reason) {
  return status.ok() ? status : WithReason(status, reason);
}

}  // namespace

absl::StatusOr<Planned> PlanProgram(const PlanTask& task, absl::string_view serialized_program) {
  const MonotonicTime begin = Clock::Real().Now();
  auto imported = graph::ImportHlo(serialized_program);
  if (!imported.ok()) {
    const bool unsupported = imported.status().code() == absl::StatusCode::kUnimplemented;
    return Because(imported.status(), unsupported ? "UNSUPPORTED_OP" : "BAD_PROGRAM");
  }
  auto roles = plan::FromProto(task.roles);
  if (!roles.ok()) return Because(roles.status(), "BAD_PROGRAM");
  if (absl::Status status = plan::Verify(*roles, *imported); !status.ok()) return Because(status, "BAD_PROGRAM");
  const graph::Graph program = graph::Simplify(*imported);

  Planned planned;
  auto plan = planner::MakePlan(program, *roles, task.devices, task.options);
  if (!plan.ok()) return Because(plan.status(), "NO_FEASIBLE_PLAN");
  planned.plan = *std::move(plan);
  cluster::Cluster cluster;
  for (DeviceId device : task.devices) cluster.devices.push_back({device, "", 0, "", 0});
  if (absl::Status status = plan::Verify(planned.plan, program, *roles, cluster); !status.ok()) {
    return Because(status, "NO_FEASIBLE_PLAN");
  }
  auto executable = planner::Lower(planned.plan, program, *roles);
  if (!executable.ok()) return Because(executable.status(), "NO_FEASIBLE_PLAN");
  planned.executable = *std::move(executable);
  planned.executable.plan_fingerprint = plan::Fingerprint(planned.plan);
  if (absl::Status status = plan::Verify(planned.executable); !status.ok()) {
    return Because(Annotate(status, "the planner's own executable does not verify; please report this"), "INTERNAL");
  }
  proto::Executable message;
  plan::ToProto(planned.executable, &message);
  planned.serialized_executable = message.SerializeAsString();
  planned.plan_text = plan::Print(planned.plan, program, *roles);
  planned.seconds = std::chrono::duration<double>(Clock::Real().Now() - begin).count();
  return planned;
}

}  // namespace alpa::coordinator
