#include <set>

#include "base/status.h"
#include "plan/plan.h"

namespace alpa::plan {
namespace {

// Everything here is read off the plan's own definition: no planner code is used.
absl::Status VerifyStage(const Plan& plan, size_t s, const graph::Graph& program, const Roles& roles) {
  const StagePlan& stage = plan.stages[s];
  if (!stage.mesh.valid() || stage.mesh.value() >= static_cast<int32_t>(plan.meshes.size())) {
    return InvalidArgument("stage %d names mesh %d, the plan has %d", s, stage.mesh.value(), plan.meshes.size());
  }
  const cluster::Mesh& mesh = plan.meshes[stage.mesh.value()];
  if (stage.data_axis < -1 || stage.data_axis >= static_cast<int64_t>(mesh.shape.size())) {
    return InvalidArgument("stage %d carries data parallelism on axis %d of a mesh with %d axes", s, stage.data_axis,
                           mesh.shape.size());
  }
  const int64_t data = stage.data_axis < 0 ? 1 : mesh.shape[stage.data_axis];
  if (data != mesh.size()) {
    return Unimplemented("stage %d: %d of the mesh's %d devices are on its data axis; other axes are not supported yet", s,
                         data, mesh.size());
  }
  if (stage.input_shardings.size() != roles.inputs.size()) {
    return InvalidArgument("stage %d shards %d inputs, the program has %d", s, stage.input_shardings.size(),
                           roles.inputs.size());
  }
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    const graph::Shape& shape = program.shape(program.parameters()[p]);
    if (!stage.input_shardings[p]) return InvalidArgument("input %s is on no stage", roles.inputs[p].path);
    const Sharding& sharding = *stage.input_shardings[p];
    ALPA_RETURN_IF_ERROR(Annotate(Verify(sharding, shape.dims, mesh), roles.inputs[p].path));
    // In space, an input is cut exactly as the seeds say.
    Sharding expected;
    for (const Seed& seed : plan.batch_seeds) {
      if (seed.leaf == static_cast<int32_t>(p) && data > 1 && !MicrobatchesAreContiguous(plan)) {
        expected = Sharding::Split(static_cast<int>(seed.dim), stage.data_axis);
      }
    }
    if (!(sharding.replicated() && expected.replicated()) && sharding != expected) {
      return InvalidArgument("stage %d: input %s is sharded %s, the batch dimensions make it %s", s, roles.inputs[p].path,
                             sharding.ToString(mesh), expected.ToString(mesh));
    }
  }
  for (const Seed& seed : plan.batch_seeds) {
    const graph::Shape& shape = program.shape(program.parameters()[seed.leaf]);
    if (shape.dims[seed.dim] % (data * plan.microbatches) != 0) {
      return InvalidArgument("dimension %d of %s has size %d, which %d devices x %d micro-batches do not divide", seed.dim,
                             roles.inputs[seed.leaf].path, shape.dims[seed.dim], data, plan.microbatches);
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool MicrobatchesAreContiguous(const Plan& plan) {
  return plan.statistics == Statistics::kLocal && plan.microbatches > 1;
}

absl::Status Verify(const Plan& plan, const graph::Graph& program, const Roles& roles, const cluster::Cluster& cluster) {
  if (plan.version != kPlanVersion) {
    return InvalidArgument("the plan has version %d, this build reads %d", plan.version, kPlanVersion);
  }
  ALPA_RETURN_IF_ERROR(Verify(roles, program));
  if (plan.microbatches < 1 || plan.microbatches > (int64_t{1} << 20)) {
    return InvalidArgument("microbatches = %d is outside 1..1048576", plan.microbatches);
  }
  if (plan.schedule != "none") return Unimplemented("schedule \"%s\"", Excerpt(plan.schedule));
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
      return InvalidArgument("a batch dimension names input %d of %d", seed.leaf, roles.inputs.size());
    }
    if (!seeded.insert(seed.leaf).second) {
      return InvalidArgument("two batch dimensions name %s", roles.inputs[seed.leaf].path);
    }
    const graph::Shape& shape = program.shape(program.parameters()[seed.leaf]);
    if (seed.dim < 0 || seed.dim >= shape.rank()) {
      return InvalidArgument("batch dimension %d of %s, which is %s", seed.dim, roles.inputs[seed.leaf].path,
                             shape.ToString());
    }
  }
  if (plan.stages.size() != 1) return Unimplemented("a plan with %d stages (one is supported yet)", plan.stages.size());
  for (size_t s = 0; s < plan.stages.size(); ++s) ALPA_RETURN_IF_ERROR(VerifyStage(plan, s, program, roles));
  return absl::OkStatus();
}

}  // namespace alpa::plan
