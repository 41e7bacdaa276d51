#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"
#include "graph/serialize.h"
#include "plan/plan.h"
#include "plan/schedules.h"

namespace alpa::plan {
namespace {

absl::Status VerifyCuts(const std::vector<Cut>& cuts, const graph::Graph& program, const Roles& roles) {
  std::set<int32_t> leaves;
  for (const Cut& cut : cuts) {
    if (cut.leaf < 0 || cut.leaf >= static_cast<int32_t>(roles.inputs.size())) {
      return InvalidArgument("a cut names input %d; the program has %d inputs", cut.leaf, roles.inputs.size());
    }
    const std::string& path = roles.inputs[cut.leaf].path;
    if (!leaves.insert(cut.leaf).second) return InvalidArgument("two cuts along one axis name leaf %s", path);
    const graph::Shape& shape = program.shape(program.parameters()[cut.leaf]);
    if (cut.dim < -1 || cut.dim >= shape.rank()) {
      return InvalidArgument("a cut names dimension %d of %s, which has shape %s", cut.dim, path, shape.ToString());
    }
  }
  return absl::OkStatus();
}

// Checks a pinned state without the lowered programs. Lowering checks whether the value exists and whether its op can
// produce that state.
absl::Status VerifyState(const AxisState& state) {
  if (!state.split()) return absl::OkStatus();
  if (state.dim < 0 || state.outer < 1)
    return InvalidArgument("a split along dimension %d with outer = %d; the dimension must be at least 0, and outer at "
                           "least 1", state.dim, state.outer);
  return absl::OkStatus();
}

absl::Status VerifyPins(const Plan& plan, const std::vector<ValuePin>& pins) {
  if (!pins.empty() && TakesRegionApart(plan)) {
    return InvalidArgument("an axis has value pins (%d); a plan with several stages or remat cannot have any",
                           pins.size());
  }
  std::set<std::pair<int32_t, int32_t>> seen;
  for (const ValuePin& pin : pins) {
    if (pin.program < 0 || pin.value < 0)
      return InvalidArgument("a pin names value %d of program %d; numbers start at 0", pin.value, pin.program);
    if (!seen.insert({pin.program, pin.value}).second) {
      return InvalidArgument("two pins along one axis name value %d of program %d", pin.value, pin.program);
    }
    ALPA_RETURN_IF_ERROR(Annotate(VerifyState(pin.state), absl::StrCat("pin of value ", pin.value)));
    for (const AxisState& state : pin.operands) ALPA_RETURN_IF_ERROR(VerifyState(state));
  }
  return absl::OkStatus();
}

absl::Status VerifyAxes(const Plan& plan, const StagePlan& stage, const cluster::Mesh& mesh,
                        const graph::Graph& program, const Roles& roles) {
  const size_t first = stage.data_axis < 0 ? 0 : 1;
  if (stage.data_axis > 0)
    return InvalidArgument("the data axis is axis %d of the mesh; it must be axis 0", stage.data_axis);
  if (mesh.shape.size() != first + stage.axes.size()) {
    return InvalidArgument("the mesh has %d axes, but the stage uses %d", mesh.shape.size(), first + stage.axes.size());
  }
  for (size_t a = 0; a < stage.axes.size(); ++a) {
    const AxisCut& axis = stage.axes[a];
    if (axis.mesh_axis != static_cast<int64_t>(first + a))
      return InvalidArgument("axis %d is out of order; the axes must follow the order of the mesh", axis.mesh_axis);
    if (axis.reduce_scatter_from < 0)
      return InvalidArgument("shard_truths_from = %d; expected at least 0", axis.reduce_scatter_from);
    ALPA_RETURN_IF_ERROR(VerifyCuts(axis.cuts, program, roles));
    ALPA_RETURN_IF_ERROR(Annotate(VerifyCuts(axis.reduce_scatter_along, program, roles), "truths_along"));
    ALPA_RETURN_IF_ERROR(VerifyPins(plan, axis.pins));
    for (const Cut& cut : axis.reduce_scatter_along) {
      if (cut.dim < 0)
        return InvalidArgument("truths_along names %s without a dimension", roles.inputs[cut.leaf].path);
    }
  }
  return absl::OkStatus();
}

// Checks one stage against the definitions in plan.h. This check uses no code of the planner.
absl::Status VerifyStage(const Plan& plan, size_t s, const graph::Graph& program, const Roles& roles) {
  const StagePlan& stage = plan.stages[s];
  if (!stage.mesh.valid() || stage.mesh.value() >= static_cast<int32_t>(plan.meshes.size())) {
    return InvalidArgument("stage %d names mesh %d; the plan has %d meshes", s, stage.mesh.value(), plan.meshes.size());
  }
  const cluster::Mesh& mesh = plan.meshes[stage.mesh.value()];
  if (stage.data_axis < -1 || stage.data_axis >= static_cast<int64_t>(mesh.shape.size())) {
    return InvalidArgument("stage %d has data axis %d, but its mesh has %d axes", s, stage.data_axis,
                           mesh.shape.size());
  }
  const int64_t data = stage.data_axis < 0 ? 1 : mesh.shape[stage.data_axis];
  ALPA_RETURN_IF_ERROR(Annotate(VerifyAxes(plan, stage, mesh, program, roles), absl::StrCat("stage ", s)));
  if (stage.input_shardings.size() != roles.inputs.size()) {
    return InvalidArgument("stage %d shards %d inputs, but the program has %d", s, stage.input_shardings.size(),
                           roles.inputs.size());
  }
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    const graph::Shape& shape = program.shape(program.parameters()[p]);
    if (!stage.input_shardings[p]) continue;
    const Sharding& sharding = *stage.input_shardings[p];
    ALPA_RETURN_IF_ERROR(Annotate(Verify(sharding, shape.dims, mesh), roles.inputs[p].path));
    // In space, an input is split exactly as the seeds and cuts specify. A state leaf that no seed or cut names may be
    // split along any dimension, because its storage follows its new value.
    Sharding expected;
    expected.dim_axes.resize(shape.rank());
    for (const Seed& seed : plan.batch_seeds) {
      if (seed.leaf == static_cast<int32_t>(p) && data > 1 && !MicrobatchesAreContiguous(plan)) {
        expected.dim_axes[seed.dim].push_back(stage.data_axis);
      }
    }
    Sharding given = sharding;
    given.dim_axes.resize(shape.rank());
    for (const AxisCut& axis : stage.axes) {
      const auto cut = std::find_if(axis.cuts.begin(), axis.cuts.end(),
                                    [&](const Cut& c) { return c.leaf == static_cast<int32_t>(p); });
      for (int64_t d = 0; d < shape.rank(); ++d) {
        const bool follows = cut == axis.cuts.end() && roles.inputs[p].kind == InputRole::Kind::kState;
        const bool here = follows ? std::count(given.dim_axes[d].begin(), given.dim_axes[d].end(), axis.mesh_axis) > 0
                                  : cut != axis.cuts.end() && cut->dim == d;
        if (here) expected.dim_axes[d].push_back(axis.mesh_axis);
      }
    }
    if (given != expected) {
      return InvalidArgument("stage %d: input %s is sharded %s, but the seeds and cuts imply %s", s,
                             roles.inputs[p].path, sharding.ToString(mesh), expected.ToString(mesh));
    }
  }
  for (const Seed& seed : plan.batch_seeds) {
    const graph::Shape& shape = program.shape(program.parameters()[seed.leaf]);
    const int64_t ways = WaysCut(stage, mesh, seed.leaf, seed.dim);
    const bool fits = TakesRegionApart(plan) ? seed.outer >= 1 && seed.outer % ways == 0 : seed.outer == ways;
    if (!fits || seed.outer > std::max<int64_t>(1, shape.dims[seed.dim])) {
      return InvalidArgument(
          "a seed has outer = %d for dimension %d of %s, which does not match the cuts; the cuts split it %d ways",
          seed.outer, seed.dim, roles.inputs[seed.leaf].path, ways);
    }
    const std::optional<int64_t> chunks = CheckedMultiply(seed.outer, data * plan.microbatches);
    if (!chunks || shape.dims[seed.dim] % *chunks != 0) {
      return InvalidArgument("dimension %d of %s has size %d, which %d devices x %d microbatches do not divide",
                             seed.dim, roles.inputs[seed.leaf].path, shape.dims[seed.dim], data, plan.microbatches);
    }
  }
  return absl::OkStatus();
}

// Checks the rules that apply only to plans with several stages.
absl::Status VerifyPipeline(const Plan& plan, const Roles& roles) {
  if (std::find(kSchedules.begin(), kSchedules.end(), plan.schedule) == kSchedules.end()) {
    return InvalidArgument("schedule \"%s\" is unknown; expected \"gpipe\", \"1f1b\" or \"zero-bubble\"",
                           Excerpt(plan.schedule));
  }
  if (plan.stage_cuts.size() + 1 != plan.stages.size()) {
    return InvalidArgument("the plan has %d stages, but %d stage cuts", plan.stages.size(), plan.stage_cuts.size());
  }
  for (size_t c = 0; c < plan.stage_cuts.size(); ++c) {
    if (plan.stage_cuts[c] <= (c == 0 ? 0 : plan.stage_cuts[c - 1])) {
      return InvalidArgument("stage %d begins at op %d; stage cuts must be positive and increase", c + 1,
                             plan.stage_cuts[c]);
    }
  }
  std::vector<const StagePlan*> of_mesh(plan.meshes.size(), nullptr);
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    const StagePlan& stage = plan.stages[s];
    if (stage.data_axis >= 0)
      return InvalidArgument("stage %d has a data axis; in a pipeline, data parallelism must be one of `axes`", s);
    const StagePlan*& first = of_mesh[stage.mesh.value()];
    if (first == nullptr) first = &stage;
    if (first->axes != stage.axes || first->input_shardings != stage.input_shardings) {
      return InvalidArgument("stage %d differs in axes or input shardings from another stage on its mesh", s);
    }
  }
  for (size_t m = 0; m < of_mesh.size(); ++m) {
    if (of_mesh[m] == nullptr) return InvalidArgument("no stage is on mesh %d", m);
  }
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    const auto count = std::count_if(of_mesh.begin(), of_mesh.end(),
                                     [&](const StagePlan* stage) { return stage->input_shardings[p].has_value(); });
    if (count != 1)
      return InvalidArgument("input %s lies on %d meshes; expected exactly one", roles.inputs[p].path, count);
  }
  return absl::OkStatus();
}

// Checks the rules that apply only to plans with a single stage.
absl::Status VerifySingle(const Plan& plan, const Roles& roles) {
  if (plan.schedule != "none")
    return InvalidArgument("the plan has a single stage and schedule \"%s\"; expected \"none\"",
                           Excerpt(plan.schedule));
  if (!plan.stage_cuts.empty()) return InvalidArgument("the plan has a single stage, but also stage cuts");
  if (plan.remat != Remat::kNone && plan.stages[0].data_axis >= 0) {
    return InvalidArgument("the stage has a data axis; with remat, data parallelism must be one of `axes`");
  }
  if (plan.meshes.size() != 1) return InvalidArgument("the plan has %d meshes, but a single stage", plan.meshes.size());
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    if (!plan.stages[0].input_shardings[p])
      return InvalidArgument("no stage has a sharding for input %s", roles.inputs[p].path);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t WaysCut(const StagePlan& stage, const cluster::Mesh& mesh, int32_t leaf, int64_t dim) {
  int64_t ways = 1;
  for (const AxisCut& axis : stage.axes) {
    for (const Cut& cut : axis.cuts) {
      if (cut.leaf == leaf && cut.dim == dim) ways *= mesh.shape[axis.mesh_axis];
    }
  }
  return ways;
}

bool TakesRegionApart(const Plan& plan) { return plan.stages.size() > 1 || plan.remat != Remat::kNone; }

bool MicrobatchesAreContiguous(const Plan& plan) {
  return plan.statistics == Statistics::kLocal && plan.microbatches > 1;
}

absl::Status Verify(const Plan& plan, const graph::Graph& program, const Roles& roles,
                    const cluster::Cluster& cluster) {
  if (plan.version != kPlanVersion) {
    return InvalidArgument("the plan has version %d; this build reads only version %d", plan.version, kPlanVersion);
  }
  ALPA_RETURN_IF_ERROR(Verify(roles, program));
  if (const uint64_t fingerprint = graph::Fingerprint(program); plan.program_fingerprint != fingerprint) {
    return InvalidArgument("the plan is for program %016x, but this program is %016x", plan.program_fingerprint,
                           fingerprint);
  }
  if (plan.microbatches < 1 || plan.microbatches > (int64_t{1} << 20)) {
    return InvalidArgument("microbatches = %d is outside 1..1048576", plan.microbatches);
  }
  if (plan.remat != Remat::kNone && plan.remat != Remat::kLayer) {
    return InvalidArgument("remat %d is unknown", static_cast<int>(plan.remat));
  }
  std::set<DeviceId> used;
  for (const cluster::Mesh& mesh : plan.meshes) {
    ALPA_RETURN_IF_ERROR(Check(mesh));
    for (DeviceId device : mesh.devices) {
      if (cluster.Find(device) == nullptr) return InvalidArgument("device %d is not in the cluster", device.value());
      if (!used.insert(device).second) return InvalidArgument("device %d is in two meshes", device.value());
    }
  }
  std::set<int32_t> seeded;
  for (const Seed& seed : plan.batch_seeds) {
    if (seed.leaf < 0 || seed.leaf >= static_cast<int32_t>(roles.inputs.size())) {
      return InvalidArgument("a batch seed names input %d; the program has %d inputs", seed.leaf, roles.inputs.size());
    }
    if (!seeded.insert(seed.leaf).second) {
      return InvalidArgument("two batch seeds name %s", roles.inputs[seed.leaf].path);
    }
    const graph::Shape& shape = program.shape(program.parameters()[seed.leaf]);
    if (seed.dim < 0 || seed.dim >= shape.rank()) {
      return InvalidArgument("a batch seed names dimension %d of %s, which has shape %s", seed.dim,
                             roles.inputs[seed.leaf].path, shape.ToString());
    }
  }
  if (plan.stages.empty() || plan.stages.size() > kMaxStages) {
    return InvalidArgument("the plan has %d stages; expected 1 to %d", plan.stages.size(), kMaxStages);
  }
  for (size_t s = 0; s < plan.stages.size(); ++s) ALPA_RETURN_IF_ERROR(VerifyStage(plan, s, program, roles));
  return plan.stages.size() == 1 ? VerifySingle(plan, roles) : VerifyPipeline(plan, roles);
}

}  // namespace alpa::plan
