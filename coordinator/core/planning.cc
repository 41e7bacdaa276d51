#include "coordinator/core/planning.h"

#include <exception>
#include <functional>
#include <new>

#include "base/status.h"
#include "coordinator/core/errors.h"
#include "graph/import.h"
#include "graph/simplify.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "plan/roles.h"
#include "plan/serialize.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "planner/request.h"
#include "proto/plan.pb.h"

namespace alpa::coordinator {
namespace {

absl::Status Because(const absl::Status& status, absl::string_view word) {
  return status.ok() ? status : WithReason(status, word);
}

struct Program {
  graph::Graph graph;
  plan::Roles roles;
};

absl::StatusOr<Program> Load(const PlanTask& task, absl::string_view serialized) {
  auto imported = graph::ImportHlo(serialized);
  if (!imported.ok()) {
    const bool unsupported = absl::IsUnimplemented(imported.status());
    return Because(imported.status(), unsupported ? reason::kUnsupportedOp : reason::kBadProgram);
  }
  auto roles = plan::FromProto(task.roles);
  if (!roles.ok()) return Because(roles.status(), reason::kBadProgram);
  ALPA_RETURN_IF_ERROR(Because(plan::Verify(*roles, *imported), reason::kBadProgram));
  return Program{*std::move(imported), *std::move(roles)};
}

void FindLoss(const plan::Executable& executable, Planned* planned) {
  for (size_t i = 0; i < executable.outputs.size(); ++i) {
    const plan::LeafPlacement& leaf = executable.outputs[i];
    if (leaf.regions.empty() || leaf.shape.elements() != 1 || !graph::IsFloat(leaf.shape.dtype)) continue;
    planned->loss_output = static_cast<int32_t>(i);
    planned->loss_shape = leaf.shape;
    return;
  }
}

absl::StatusOr<Planned> Make(const PlanTask& task, absl::string_view serialized) {
  Planned planned;
  MonotonicTime begin = Clock::Real().Now();
  const auto end_phase = [&](const char* phase) {
    const MonotonicTime now = Clock::Real().Now();
    planned.phase_seconds[phase] = std::chrono::duration<double>(now - begin).count();
    planned.seconds += planned.phase_seconds[phase];
    begin = now;
  };
  ALPA_ASSIGN_OR_RETURN(const Program program, Load(task, serialized));
  const graph::Graph simplified = graph::Simplify(program.graph);
  end_phase("import");
  const auto options = planner::OptionsOf(task.request, simplified, program.roles);
  if (!options.ok()) return Because(options.status(), reason::kNoFeasiblePlan);
  const auto plan = planner::MakePlan(simplified, program.roles, task.devices, *options);
  if (!plan.ok()) return Because(plan.status(), reason::kNoFeasiblePlan);
  cluster::Cluster cluster;
  for (DeviceId device : task.devices) cluster.devices.push_back({device, "", 0, "", 0});
  ALPA_RETURN_IF_ERROR(Because(Annotate(plan::Verify(*plan, simplified, program.roles, cluster),
                                        "the planner's own plan does not verify; please report this"),
                               reason::kInternal));
  end_phase("plan");
  auto executable = planner::Lower(*plan, simplified, program.roles);
  if (!executable.ok()) return Because(executable.status(), reason::kNoFeasiblePlan);
  executable->plan_fingerprint = plan::Fingerprint(*plan);
  ALPA_RETURN_IF_ERROR(
      Because(Annotate(plan::Verify(*executable), "the planner's own executable does not verify; please report this"),
              reason::kInternal));
  proto::Executable message;
  plan::ToProto(*executable, &message);
  if (!message.SerializeToString(&planned.serialized_executable)) {
    return Because(absl::ResourceExhaustedError("the executable is larger than 2 GiB"), reason::kNoFeasiblePlan);
  }
  plan::ToProto(*plan, &planned.plan);
  planned.plan_text = plan::Print(*plan, simplified, program.roles);
  *planned.placement.mutable_meshes() = message.meshes();
  *planned.placement.mutable_inputs() = message.inputs();
  *planned.placement.mutable_input_is_state() = message.input_is_state();
  *planned.placement.mutable_outputs() = message.outputs();
  for (const cluster::Mesh& mesh : executable->meshes) {
    planned.devices.insert(planned.devices.end(), mesh.devices.begin(), mesh.devices.end());
  }
  FindLoss(*executable, &planned);
  end_phase("lower");
  return planned;
}

// The libraries below throw only where memory is short; a program must not end the daemon.
template <typename Result>
Result Guarded(const std::function<Result()>& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Because(absl::ResourceExhaustedError("planning needs more memory than the coordinator has"),
                   reason::kNoFeasiblePlan);
  } catch (const std::exception& e) {
    return Because(absl::InternalError(absl::StrCat("planning threw: ", e.what())), reason::kInternal);
  }
}

}  // namespace

absl::StatusOr<Planned> PlanProgram(const PlanTask& task, absl::string_view serialized_program) {
  return Guarded<absl::StatusOr<Planned>>([&] { return Make(task, serialized_program); });
}

absl::Status CheckProgram(const PlanTask& task, absl::string_view serialized_program) {
  return Guarded<absl::Status>([&] { return Load(task, serialized_program).status(); });
}

}  // namespace alpa::coordinator
