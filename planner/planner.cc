#include "planner/planner.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/serialize.h"
#include "planner/lower/lower.h"
#include "planner/microbatch/seeds.h"
#include "planner/partition/choose_cuts.h"

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

// How many devices carry data parallelism: as pinned, or nothing where that is left open.
absl::StatusOr<std::optional<int64_t>> PinnedData(const PlanOptions& options) {
  const int64_t tensor = std::max(1, options.tensor_parallel);
  if (options.devices < 0 || options.data_parallel < 0 || options.microbatches < 0 || options.tensor_parallel < 0) {
    return InvalidArgument("devices, data_parallel, tensor_parallel and microbatches must not be negative");
  }
  if (options.zero < 0 || options.zero > 3) return InvalidArgument("zero=%d; ZeRO has stages 1, 2 and 3", options.zero);
  if (options.microbatches > (int64_t{1} << 20)) {
    return InvalidArgument("microbatches=%d is more than the 1048576 allowed", options.microbatches);
  }
  if (options.devices > 0 && options.data_parallel > 0 && options.devices != options.data_parallel * tensor) {
    return InvalidArgument("data_parallel=%d x tensor_parallel=%d contradicts devices=%d", options.data_parallel, tensor,
                           options.devices);
  }
  if (options.data_parallel > 0) return options.data_parallel;
  if (options.devices == 0) return std::nullopt;
  if (options.devices % tensor != 0) {
    return InvalidArgument("tensor_parallel=%d does not divide devices=%d", tensor, options.devices);
  }
  return options.devices / tensor;
}

struct BatchSplit {
  int64_t data = 1;  // devices
  SeedSearch search;
};

// The batch in data x k chunks: as pinned, or over as many devices as can share it, `most` at the most.
absl::StatusOr<BatchSplit> SplitBatch(const Graph& program, const plan::Roles& roles, const PlanOptions& options,
                                      std::optional<int64_t> pinned, int64_t most) {
  const int64_t k = std::max<int64_t>(1, options.microbatches);
  const bool local = options.statistics == plan::Statistics::kLocal && k > 1;
  BatchSplit split;
  for (split.data = pinned.value_or(most);; --split.data) {
    const int64_t chunks = split.data * k;
    if (chunks == 1) break;
    if (!options.batch_dims.empty()) {
      absl::Status seeds = CheckSeeds(program, roles, options.batch_dims, chunks);
      if (seeds.ok()) {
        split.search.seeds = options.batch_dims;
        split.search.analysis = Analyse(program, roles, {chunks, split.search.seeds, local, false});
        break;
      }
      if (pinned || split.data == 1) return seeds;
    } else {
      split.search = FindSeeds(program, roles, chunks, k > 1, local);
      if (!split.search.seeds.empty()) break;
      if (pinned || split.data == 1) return NothingToCut(split.data, k);
    }
  }
  if (k > 1 && !split.search.analysis.couplings.empty()) return CouplingError(program, split.search.analysis);
  return split;
}

// State leaves that the forward reads beside the batch, rearranged or converted at most: parameters, as opposed to what only
// the update reads.
std::vector<int32_t> Parameters(const Graph& program, const plan::Roles& roles, const AxisAnalysis& analysis) {
  std::vector<int32_t> leaf_of(program.values().size(), -1);
  std::vector<bool> read(roles.inputs.size(), false);
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    if (roles.inputs[p].kind == plan::InputRole::Kind::kState) leaf_of[program.parameters()[p].value()] = static_cast<int32_t>(p);
  }
  for (const graph::Op& op : program.ops()) {
    if (op.opcode == graph::Opcode::kParameter) continue;
    const bool on_chunks = std::any_of(op.results.begin(), op.results.end(), [&](graph::ValueId v) {
      return !analysis.states[v.value()].replicated();
    });
    for (graph::ValueId v : op.operands) {
      const int32_t leaf = leaf_of[v.value()];
      if (leaf < 0) continue;
      if (on_chunks) read[leaf] = true;
      else if (op.operands.size() == 1 && op.results.size() == 1) leaf_of[op.results[0].value()] = leaf;
    }
  }
  std::vector<int32_t> found;
  for (size_t p = 0; p < read.size(); ++p) {
    if (read[p]) found.push_back(static_cast<int32_t>(p));
  }
  return found;
}

// Data parallelism as one more axis of space: what is made of gradients stays in parts, and so do parameters in stage 3.
plan::AxisCut ZeroAxis(const Graph& program, const plan::Roles& roles, const BatchSplit& split, const PlanOptions& options) {
  plan::AxisCut axis;
  axis.mesh_axis = 0;
  axis.shard_truths_from = options.shard_from;
  axis.shard_accumulators = options.zero >= 2;
  for (const plan::Seed& seed : split.search.seeds) axis.cuts.push_back({seed.leaf, seed.dim, plan::CutRank::kBatch});
  if (options.zero >= 3) return axis;
  for (int32_t leaf : Parameters(program, roles, split.search.analysis)) axis.cuts.push_back({leaf, -1});
  return axis;
}

std::string Origin(const PlanOptions& options, bool data_pinned) {
  if (options.zero > 0) return absl::StrCat("ZeRO-", options.zero, options.tensor_parallel > 1 ? " and tensor parallel" : "",
                                            ", pinned by the user");
  return data_pinned || options.microbatches > 0 || options.tensor_parallel > 1 ? "pinned by the user"
                                                                                 : "all devices, data parallel";
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const Graph& program, const plan::Roles& roles, const std::vector<DeviceId>& devices,
                              const PlanOptions& options) {
  ALPA_ASSIGN_OR_RETURN(const std::optional<int64_t> pinned, PinnedData(options));
  const int64_t available = static_cast<int64_t>(devices.size());
  const int64_t tensor = std::max(1, options.tensor_parallel);
  if (available < tensor || pinned.value_or(1) > available / tensor) {
    return InvalidArgument("the plan needs %d devices, %d are given", pinned.value_or(1) * tensor, available);
  }
  ALPA_ASSIGN_OR_RETURN(const BatchSplit split, SplitBatch(program, roles, options, pinned, available / tensor));
  const int64_t n = split.data;
  const bool zero = options.zero > 0 && n > 1;

  Plan plan;
  plan.program_fingerprint = graph::Fingerprint(program);
  cluster::Mesh mesh;
  mesh.shape = {n};
  mesh.axis_names = {"data"};
  mesh.devices.assign(devices.begin(), devices.begin() + n);
  plan.microbatches = std::max<int64_t>(1, options.microbatches);
  plan.batch_seeds = split.search.seeds;
  plan.statistics = options.statistics;
  plan.origin = Origin(options, pinned.has_value());
  plan::StagePlan stage;
  stage.mesh = MeshId(0);
  stage.data_axis = 0;
  if (zero) {
    if (plan::MicrobatchesAreContiguous(plan)) {
      return Unimplemented("ZeRO with local statistics and several micro-batches; use plain data parallelism, or microbatches=1");
    }
    stage.data_axis = -1;
    stage.axes.push_back(ZeroAxis(program, roles, split, options));
    for (plan::Seed& seed : plan.batch_seeds) seed.outer = n;
  }
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    plan::Sharding sharding;
    for (const plan::Seed& seed : plan.batch_seeds) {
      if (n == 1 || plan::MicrobatchesAreContiguous(plan)) break;
      if (seed.leaf == static_cast<int32_t>(p)) sharding = plan::Sharding::Split(static_cast<int>(seed.dim), 0);
    }
    stage.input_shardings.push_back(sharding);
  }
  plan.meshes = {mesh};
  plan.stages = {stage};
  if (tensor > 1) {
    ALPA_ASSIGN_OR_RETURN(const plan::Executable base, Lower(plan, program, roles));
    plan::AxisCut axis;
    axis.mesh_axis = 1;
    plan.meshes[0].shape.push_back(tensor);
    plan.meshes[0].axis_names.push_back("tensor");
    plan.meshes[0].devices.assign(devices.begin(), devices.begin() + n * tensor);
    ALPA_ASSIGN_OR_RETURN(const AxisRequest request, ChooseTensorCuts(base, RequestOf(plan, axis)));
    axis.cuts = request.cuts;
    plan.stages[0].axes.push_back(axis);
  }
  if (!plan.stages[0].axes.empty()) {
    // Where leaves lie that no cut names follows from the programs.
    ALPA_ASSIGN_OR_RETURN(const plan::Executable executable, Lower(plan, program, roles));
    for (size_t p = 0; p < roles.inputs.size(); ++p) {
      plan.stages[0].input_shardings[p] = executable.inputs[p].regions[0].sharding;
    }
  }
  return plan;
}

}  // namespace alpa::planner
