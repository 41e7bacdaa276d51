#include "planner/planner.h"

#include <algorithm>

#include "base/status.h"
#include "graph/serialize.h"
#include "planner/microbatch/seeds.h"

namespace alpa::planner {

using graph::Graph;
using plan::Plan;

namespace {

absl::Status NothingToCut(int64_t devices, int64_t microbatches) {
  return InvalidArgument(
      "no dimension of any batch leaf can be cut into %d chunks (%d data-parallel devices x %d micro-batches); choose numbers "
      "whose product divides the batch size, or name the dimensions with batch_dims",
      devices * microbatches, devices, microbatches);
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const Graph& program, const plan::Roles& roles, const std::vector<DeviceId>& devices,
                              const PlanOptions& options) {
  const int64_t available = static_cast<int64_t>(devices.size());
  if (options.devices < 0 || options.data_parallel < 0 || options.microbatches < 0) {
    return InvalidArgument("devices, data_parallel and microbatches must not be negative");
  }
  if (options.devices > 0 && options.data_parallel > 0 && options.devices != options.data_parallel) {
    return InvalidArgument("data_parallel=%d contradicts devices=%d", options.data_parallel, options.devices);
  }
  if (options.microbatches > (int64_t{1} << 20)) {
    return InvalidArgument("microbatches=%d is more than the 1048576 allowed", options.microbatches);
  }
  const int64_t pinned = std::max(options.devices, options.data_parallel);
  if (available < 1 || pinned > available) {
    return InvalidArgument("the plan needs %d devices, %d are given", std::max<int64_t>(1, pinned), available);
  }
  const int64_t k = std::max<int64_t>(1, options.microbatches);
  const bool local = options.statistics == plan::Statistics::kLocal && k > 1;
  int64_t n = pinned > 0 ? pinned : available;

  SeedSearch split;
  for (;; --n) {
    const int64_t chunks = n * k;
    if (chunks == 1) break;
    if (!options.batch_dims.empty()) {
      absl::Status seeds = CheckSeeds(program, roles, options.batch_dims, chunks);
      if (seeds.ok()) {
        split.seeds = options.batch_dims;
        split.analysis = Analyse(program, roles, {chunks, split.seeds, local, false});
        break;
      }
      if (pinned > 0 || n == 1) return seeds;
    } else {
      split = FindSeeds(program, roles, chunks, k > 1, local);
      if (!split.seeds.empty()) break;
      if (pinned > 0 || n == 1) return NothingToCut(n, k);
    }
  }
  if (k > 1 && !split.analysis.couplings.empty()) return CouplingError(program, split.analysis);

  Plan plan;
  plan.program_fingerprint = graph::Fingerprint(program);
  cluster::Mesh mesh;
  mesh.shape = {n};
  mesh.axis_names = {"data"};
  mesh.devices.assign(devices.begin(), devices.begin() + n);
  plan.meshes = {mesh};
  plan.microbatches = k;
  plan.batch_seeds = split.seeds;
  plan.statistics = options.statistics;
  plan::StagePlan stage;
  stage.mesh = MeshId(0);
  stage.data_axis = n > 1 ? 0 : -1;
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    plan::Sharding sharding;
    for (const plan::Seed& seed : plan.batch_seeds) {
      if (n == 1 || plan::MicrobatchesAreContiguous(plan)) break;
      if (seed.leaf == static_cast<int32_t>(p)) sharding = plan::Sharding::Split(static_cast<int>(seed.dim), 0);
    }
    stage.input_shardings.push_back(sharding);
  }
  plan.stages = {stage};
  plan.origin = pinned > 0 || options.microbatches > 0 ? "pinned by the user" : "all devices, data parallel";
  return plan;
}

}  // namespace alpa::planner
