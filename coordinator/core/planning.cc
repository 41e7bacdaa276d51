#include "coordinator/core/planning.h"

#include <exception>
#include <functional>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "coordinator/core/errors.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "plan/plan_request.h"
#include "plan/serialize.h"
#include "planner/job_plan.h"
#include "planner/simulate/simulate.h"
#include "proto/plan.pb.h"

namespace alpa::coordinator {
namespace {

constexpr size_t kComparedShown = 12;  // candidates listed in the plan text
constexpr size_t kSpansShown = 4000;   // spans kept for the status page; the later ones are dropped

absl::Status Because(const absl::Status& status, absl::string_view word) {
  return status.ok() ? status : WithReason(status, word);
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

struct Chosen {
  plan::Plan plan;
  std::string compared;  // human-readable table of the candidates that the search compared; empty without a search
  std::vector<std::string> bugs;  // planner::Searched::bugs
};

absl::StatusOr<Chosen> Choose(const PlanTask& task, const planner::JobProgram& program,
                              const PlanningProgress& progress) {
  Chosen chosen;
  // The search needs a measured cluster to estimate costs. If the pins decide the parallelism, no search is needed.
  if (!plan::LeavesParallelismOpen(task.request) || !task.cluster.IsMeasured()) {
    ALPA_ASSIGN_OR_RETURN(chosen.plan, planner::PlanJob(program, task.request, task.devices));
    return chosen;
  }
  planner::SearchLimits limits;
  limits.seconds = task.search_seconds;
  limits.progress = [&](const planner::SearchProgress& now) {
    std::string text = absl::StrFormat("planning: %d plans evaluated", now.evaluated);
    if (now.best != nullptr && now.best->status.ok()) {
      absl::StrAppendFormat(&text, ", the best takes %.4g s per step: %s", now.best->simulation.step_seconds,
                            now.best->name);
    }
    return !progress || progress(text);
  };
  ALPA_ASSIGN_OR_RETURN(planner::Searched searched, planner::SearchJob(program, task.request, task.cluster, limits));
  chosen.compared = absl::StrCat("compared with these candidates:\n",
                                 planner::PrintCandidates(searched, kComparedShown));
  chosen.plan = std::move(searched.plan);
  chosen.bugs = std::move(searched.bugs);
  return chosen;
}

absl::StatusOr<Planned> Make(const PlanTask& task, absl::string_view serialized, const PlanningProgress& progress) {
  Planned planned;
  MonotonicTime begin = Clock::Real().Now();
  const auto end_phase = [&](const char* phase) {
    const MonotonicTime now = Clock::Real().Now();
    planned.phase_seconds[phase] = std::chrono::duration<double>(now - begin).count();
    planned.seconds += planned.phase_seconds[phase];
    begin = now;
  };
  ALPA_ASSIGN_OR_RETURN(const planner::JobProgram imported, planner::ImportProgram(serialized, task.roles));
  const planner::JobProgram program = planner::Simplified(imported);
  end_phase("import");
  ALPA_ASSIGN_OR_RETURN(auto chosen, Choose(task, program, progress));
  plan::Plan& plan = chosen.plan;
  for (const std::string& bug : chosen.bugs) {
    planned.warnings.push_back(absl::StrCat("a bug in the planner, please report it: ", bug));
  }
  end_phase("plan");
  ALPA_ASSIGN_OR_RETURN(const plan::Executable executable, planner::LowerJob(plan, program, task.request.has_given()));
  if (task.cluster.IsMeasured()) {
    ALPA_ASSIGN_OR_RETURN(const planner::Simulation simulation, planner::Simulate(executable, task.cluster));
    plan.predicted = {simulation.step_seconds, simulation.peak_device_memory()};
    for (const planner::Span& span : simulation.spans) {
      if (planned.spans.size() == kSpansShown) break;
      planned.spans.push_back({span.mesh, executable.programs[span.program].name, span.begin, span.end});
    }
  }
  proto::Executable message;
  plan::ToProto(executable, &message);
  if (!message.SerializeToString(&planned.serialized_executable)) {
    return Because(absl::ResourceExhaustedError("the executable is larger than the limit of 2 GiB"),
                   reason::kNoFeasiblePlan);
  }
  plan::ToProto(plan, &planned.plan);
  planned.plan_text = absl::StrCat(plan::Print(plan, program.graph, program.roles), chosen.compared);
  *planned.placement.mutable_meshes() = message.meshes();
  *planned.placement.mutable_inputs() = message.inputs();
  *planned.placement.mutable_input_is_state() = message.input_is_state();
  *planned.placement.mutable_outputs() = message.outputs();
  for (const cluster::Mesh& mesh : executable.meshes) {
    planned.devices.insert(planned.devices.end(), mesh.devices.begin(), mesh.devices.end());
  }
  FindLoss(executable, &planned);
  end_phase("lower");
  return planned;
}

// Runs `body` and turns exceptions into errors. An error message helps the user more than a crash does. The libraries
// that `body` uses throw only if memory runs out.
template <typename Result>
Result Guarded(const std::function<Result()>& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Because(absl::ResourceExhaustedError("planning needs more memory than is available; pin more of the plan"),
                   reason::kNoFeasiblePlan);
  } catch (const std::exception& e) {
    return Because(absl::InternalError(absl::StrCat("planning threw an exception: ", e.what())), reason::kInternal);
  }
}

}  // namespace

absl::StatusOr<Planned> PlanProgram(const PlanTask& task, absl::string_view serialized_program,
                                    const PlanningProgress& progress) {
  return Guarded<absl::StatusOr<Planned>>([&] { return Make(task, serialized_program, progress); });
}

absl::Status CheckProgram(const PlanTask& task, absl::string_view serialized_program) {
  return Guarded<absl::Status>([&]() -> absl::Status {
    ALPA_ASSIGN_OR_RETURN(const planner::JobProgram imported, planner::ImportProgram(serialized_program, task.roles));
    if (!task.request.has_given()) return absl::OkStatus();
    return planner::ReadGivenPlan(task.request.given(), planner::Simplified(imported)).status();
  });
}

}  // namespace alpa::coordinator
