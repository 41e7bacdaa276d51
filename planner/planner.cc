#include "planner/planner.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/serialize.h"
#include "plan/serialize.h"
#include "planner/lower/lower.h"
#include "planner/microbatch/seeds.h"
#include "planner/partition/choose_cuts.h"
#include "planner/schedule/schedule.h"

namespace alpa::planner {

using graph::Graph;
using plan::kMaxStages;
using plan::Plan;

int PlanOptions::tensor_of(size_t mesh) const {
  return pipeline.tensor.empty() ? std::max(1, tensor_parallel) : pipeline.tensor[mesh];
}

int PlanOptions::most_tensor() const {
  return pipeline.tensor.empty() ? tensor_of(0) : *std::max_element(pipeline.tensor.begin(), pipeline.tensor.end());
}

namespace {

absl::Status NothingToCut(int64_t devices, int64_t microbatches) {
  return InvalidArgument(
      "no dimension of any batch leaf can be cut into %d chunks (%d data-parallel devices x %d microbatches); choose "
      "numbers whose product divides the batch size, or name the dimensions with batch_dims",
      devices * microbatches, devices, microbatches);
}

absl::Status CheckTensorCuts(const PlanOptions& options, const Graph& program, const plan::Roles& roles) {
  std::set<int32_t> seen;
  for (const plan::Cut& cut : options.tensor_cuts) {
    if (cut.leaf < 0 || cut.leaf >= static_cast<int32_t>(roles.inputs.size())) {
      return InvalidArgument("a tensor cut names input %d, but the program has %d inputs", cut.leaf,
                             roles.inputs.size());
    }
    const plan::InputRole& role = roles.inputs[cut.leaf];
    if (role.kind != plan::InputRole::Kind::kState) {
      return InvalidArgument("a tensor cut names %s, which is a batch leaf; name a state leaf", role.path);
    }
    const graph::Shape& shape = program.shape(program.parameters()[cut.leaf]);
    if (cut.dim < -1 || cut.dim >= shape.rank()) {
      return InvalidArgument("a tensor cut names dimension %d of %s, whose shape is %s", cut.dim, role.path,
                             shape.ToString());
    }
    if (!seen.insert(cut.leaf).second) return InvalidArgument("two tensor cuts name %s; give only one", role.path);
  }
  if (!options.tensor_cuts.empty() && options.most_tensor() < 2) {
    return InvalidArgument("%d tensor cuts are given, but tensor_parallel=%d; it must be at least 2",
                           options.tensor_cuts.size(), options.most_tensor());
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const PlanOptions& options, const Graph& program, const plan::Roles& roles) {
  if (options.devices < 0 || options.data_parallel < 0 || options.microbatches < 0 || options.tensor_parallel < 0) {
    return InvalidArgument("devices, data_parallel, tensor_parallel and microbatches must not be negative");
  }
  if (options.zero < 0 || options.zero > 3) {
    return InvalidArgument("zero=%d is not a ZeRO stage; expected 1, 2 or 3, or 0 for none", options.zero);
  }
  if (options.microbatches > (int64_t{1} << 20)) {
    return InvalidArgument("microbatches=%d; at most 1048576 are allowed", options.microbatches);
  }
  const PipelineOptions& pipeline = options.pipeline;
  if (pipeline.meshes < 1 || pipeline.stages_per_mesh < 1 || pipeline.meshes > kMaxStages ||
      pipeline.stages_per_mesh > kMaxStages / pipeline.meshes) {
    return InvalidArgument("a pipeline has %d meshes x %d stages each; expected 1 to %d stages in total",
                           pipeline.meshes, pipeline.stages_per_mesh, kMaxStages);
  }
  if (pipeline.meshes == 1 && pipeline.stages_per_mesh > 1) {
    return InvalidArgument("%d stages per mesh need a pipeline of at least 2 meshes", pipeline.stages_per_mesh);
  }
  if (!pipeline.devices.empty() && static_cast<int>(pipeline.devices.size()) != pipeline.meshes) {
    return InvalidArgument("device counts are given for %d meshes, but the pipeline has %d", pipeline.devices.size(),
                           pipeline.meshes);
  }
  if (!pipeline.tensor.empty() &&
      (pipeline.tensor.size() != pipeline.devices.size() ||
       std::any_of(pipeline.tensor.begin(), pipeline.tensor.end(), [](int t) { return t < 1; }))) {
    return InvalidArgument(
        "tensor degrees are given for %d meshes and device counts for %d; expected a degree of at least 1 for each of "
        "these meshes",
        pipeline.tensor.size(), pipeline.devices.size());
  }
  if (!pipeline.shares.empty() &&
      (static_cast<int>(pipeline.shares.size()) != pipeline.meshes ||
       std::any_of(pipeline.shares.begin(), pipeline.shares.end(), [](double s) { return !(s > 0); }))) {
    return InvalidArgument("%d shares of the work are given for %d meshes; expected one positive share per mesh",
                           pipeline.shares.size(), pipeline.meshes);
  }
  if (options.remat != "none" && options.remat != "layer") {
    return InvalidArgument("remat=\"%s\" is unknown; expected \"none\" or \"layer\"", options.remat);
  }
  if (options.sequence && options.most_tensor() < 2) {
    return InvalidArgument("sequence sharding needs tensor_parallel >= 2, but it is %d", options.most_tensor());
  }
  ALPA_RETURN_IF_ERROR(CheckTensorCuts(options, program, roles));
  return ParseSchedule(pipeline.schedule).status();
}

// Returns the pinned data degree, or nothing if the user leaves it open.
absl::StatusOr<std::optional<int64_t>> PinnedData(const PlanOptions& options) {
  const int64_t tensor = std::max(1, options.tensor_parallel);
  const int64_t each = tensor * options.pipeline.meshes;
  if (options.devices > 0 && options.data_parallel > 0 && options.devices != options.data_parallel * each) {
    return InvalidArgument("data_parallel=%d x tensor_parallel=%d x %d pipeline meshes contradicts devices=%d",
                           options.data_parallel, tensor, options.pipeline.meshes, options.devices);
  }
  if (options.data_parallel > 0) return options.data_parallel;
  if (options.devices == 0) return std::nullopt;
  if (options.devices % each != 0) {
    return InvalidArgument("tensor_parallel=%d x %d pipeline meshes does not divide devices=%d", tensor,
                           options.pipeline.meshes, options.devices);
  }
  return options.devices / each;
}

// Returns the data degree of each mesh if the user gives device counts per mesh, otherwise nothing.
absl::StatusOr<std::vector<int64_t>> DataOfMeshes(const PlanOptions& options) {
  std::vector<int64_t> data;
  for (size_t m = 0; m < options.pipeline.devices.size(); ++m) {
    const int devices = options.pipeline.devices[m], tensor = options.tensor_of(m);
    if (devices < 1 || devices % tensor != 0) {
      return InvalidArgument("tensor_parallel=%d does not divide the %d devices of pipeline mesh %d", tensor, devices,
                             m);
    }
    data.push_back(devices / tensor);
    if (options.data_parallel > 0 && data.back() != options.data_parallel) {
      return InvalidArgument("data_parallel=%d contradicts a pipeline mesh of %d devices with tensor_parallel=%d",
                             options.data_parallel, devices, tensor);
    }
  }
  return data;
}

// Returns whether lowering splits the region of the step (stage/labels.h) into cells (plan::TakesRegionApart).
bool TakesApart(const PlanOptions& options) { return options.pipeline.meshes > 1 || options.remat != "none"; }

struct BatchSplit {
  int64_t data = 1;  // the data degree
  SeedSearch search;
};

// Splits the batch into `data * k` chunks. The data degree is `pinned`, if given. Otherwise it is the largest degree up
// to `most` for which the batch can be cut into `data * k` chunks.
absl::StatusOr<BatchSplit> SplitBatch(const Graph& program, const plan::Roles& roles, const PlanOptions& options,
                                      std::optional<int64_t> pinned, int64_t most) {
  const int64_t k = std::max<int64_t>(1, options.microbatches);
  const bool local = options.statistics == plan::Statistics::kLocal && k > 1;
  BatchSplit split;
  for (split.data = pinned.value_or(most);; --split.data) {
    const int64_t chunks = split.data * k;
    if (chunks == 1 && !TakesApart(options) && !options.sequence) break;
    if (!options.batch_dims.empty()) {
      absl::Status seeds = CheckSeeds(program, roles, options.batch_dims, chunks);
      if (seeds.ok()) {
        split.search.seeds = options.batch_dims;
        split.search.analysis = Analyse(program, roles, {chunks, split.search.seeds, local, false});
        break;
      }
      if (pinned || split.data == 1) return seeds;
    } else {
      for (int64_t probe : kProbeChunks) {
        // A single chunk cuts nothing. For a single chunk, the search therefore looks for a dimension that a few chunks
        // would cut.
        split.search = FindSeeds(program, roles, chunks == 1 ? probe : chunks, k > 1, local);
        if (chunks > 1 || !split.search.seeds.empty()) break;
      }
      if (!split.search.seeds.empty() || chunks == 1) break;
      if (pinned || split.data == 1) return NothingToCut(split.data, k);
    }
  }
  if (k > 1 && !split.search.analysis.couplings.empty()) {
    // If the real batch dimension is not divisible into the chunks, the search took another dimension, along which the
    // program is coupled. In this case, the error of CheckSeeds for the real dimension helps the user more.
    for (int64_t probe : kProbeChunks) {
      const SeedSearch other = FindSeeds(program, roles, probe, true, local);
      const bool as_much = other.analysis.split_flops >= split.search.analysis.split_flops;
      if (other.seeds.empty() || !other.analysis.couplings.empty() || !as_much) continue;
      ALPA_RETURN_IF_ERROR(CheckSeeds(program, roles, other.seeds, split.data * k));
      break;
    }
    return CouplingError(program, split.search.analysis);
  }
  return split;
}

// Returns the parameters: the state leaves that an op combines with the batch, directly or after ops with one operand
// and one result (reshape, transpose, convert). State that only the optimizer's update reads is not a parameter.
std::vector<int32_t> Parameters(const Graph& program, const plan::Roles& roles, const AxisAnalysis& analysis) {
  std::vector<int32_t> leaf_of(program.values().size(), -1);
  std::vector<bool> read(roles.inputs.size(), false);
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    if (roles.inputs[p].kind == plan::InputRole::Kind::kState) {
      leaf_of[program.parameters()[p].value()] = static_cast<int32_t>(p);
    }
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

// Returns data parallelism as a mesh axis. Under ZeRO, values derived from gradients, such as optimizer state, stay
// sharded. Under ZeRO-3, parameters stay sharded, too.
plan::AxisCut DataAxis(const Graph& program, const plan::Roles& roles, const BatchSplit& split,
                       const PlanOptions& options) {
  plan::AxisCut axis;
  axis.mesh_axis = 0;
  for (const plan::Seed& seed : split.search.seeds) axis.cuts.push_back({seed.leaf, seed.dim, plan::CutRank::kBatch});
  if (options.zero > 0) {
    axis.reduce_scatter_from = options.shard_from;
    axis.shard_accumulators = options.zero >= 2;
  }
  if (options.zero >= 3) return axis;
  for (int32_t leaf : Parameters(program, roles, split.search.analysis)) {
    // A state leaf that holds one entry per example, such as a KV cache, is split along the batch already.
    const bool seed =
        std::any_of(axis.cuts.begin(), axis.cuts.end(), [&](const plan::Cut& cut) { return cut.leaf == leaf; });
    if (!seed) axis.cuts.push_back({leaf, -1});
  }
  return axis;
}

std::string Origin(const PlanOptions& options, bool data_pinned) {
  const bool pipeline = options.pipeline.meshes > 1;
  if (options.zero > 0) {
    return absl::StrCat("ZeRO-", options.zero, options.most_tensor() > 1 ? " and tensor parallel" : "",
                        pipeline ? " in a pipeline" : "", ", pinned by the user");
  }
  const bool pinned = data_pinned || options.microbatches > 0 || options.most_tensor() > 1 || TakesApart(options);
  return pinned ? "pinned by the user" : "all devices, data parallel";
}

// Returns a mesh of `data * tensor` devices. Leaves out an axis of size 1, except the data axis if `keep_data_axis`.
cluster::Mesh MakeMesh(int64_t data, int64_t tensor, bool keep_data_axis,
                       std::vector<DeviceId>::const_iterator devices) {
  cluster::Mesh mesh;
  if (data > 1 || keep_data_axis) mesh.shape.push_back(data), mesh.axis_names.push_back("data");
  if (tensor > 1) mesh.shape.push_back(tensor), mesh.axis_names.push_back("tensor");
  mesh.devices.assign(devices, devices + data * tensor);
  return mesh;
}

// Returns the cuts for sequence sharding. These cuts split each batch leaf along the dimension after its batch
// dimension, or along the dimension before it if the batch dimension is the last. A leaf is not cut if `tensor` does
// not divide the size of that dimension. Partial sums of matrix products are reduce-scattered along the dimension that
// follows from these cuts. The reduced slices are gathered before the next product (Korthikanti et al., arXiv
// 2205.05198).
std::vector<plan::Cut> SequenceCuts(const Plan& plan, int64_t tensor, const Graph& program) {
  std::vector<plan::Cut> cuts;
  for (const plan::Seed& seed : plan.batch_seeds) {
    const graph::Shape& shape = program.shape(program.parameters()[seed.leaf]);
    const int64_t dim = seed.dim + 1 < shape.rank() ? seed.dim + 1 : seed.dim - 1;
    if (dim >= 0 && shape.dims[dim] % tensor == 0) cuts.push_back({seed.leaf, dim, plan::CutRank::kStored});
  }
  return cuts;
}

// Chooses the tensor axis of the mesh of `stage`. The choice is made for the whole program, lowered to this mesh along
// the axes that `stage` already has. In two cases the choice has only cuts of leaves and no pins. If lowering splits
// the region into cells, pins of the whole program would not fit the programs of the cells. If sequence sharding is on,
// it already decides how partial sums are reduced.
absl::StatusOr<ChosenAxis> TensorAxis(const Plan& plan, const plan::StagePlan& stage, const PlanOptions& options,
                                      const Graph& program, const plan::Roles& roles) {
  Plan one = plan;
  one.stages = {stage};
  one.stage_cuts.clear();
  one.schedule = "none";
  one.remat = plan::Remat::kNone;
  const cluster::Mesh& mesh = plan.meshes[stage.mesh.value()];
  one.stages[0].mesh = MeshId(0);
  plan::AxisCut axis;
  axis.mesh_axis = static_cast<int64_t>(mesh.shape.size()) - 1;
  axis.cuts = options.tensor_cuts;
  one.meshes = {mesh};
  AxisRequest request = RequestFor(MeshId(0), mesh, axis);
  for (const plan::Seed& seed : plan.batch_seeds) request.reserved.push_back({seed.leaf, seed.dim});
  // The same mesh without its last axis, the tensor axis.
  Plan base = one;
  base.meshes[0].shape.pop_back();
  base.meshes[0].axis_names.pop_back();
  base.meshes[0].devices.resize(mesh.devices.size() / mesh.shape.back());
  if (!options.exact_tensor) {
    const auto choose = [&]() -> absl::StatusOr<AxisRequest> {
      ALPA_ASSIGN_OR_RETURN(const plan::Executable executable, Lower(base, program, roles));
      return ChooseTensorCuts(executable, request);
    };
    ChosenAxis chosen;
    if (options.tensor_memo == nullptr) {
      ALPA_ASSIGN_OR_RETURN(chosen.request, choose());
    } else {
      one.stages[0].axes.push_back(axis);
      one.origin.clear();
      ALPA_ASSIGN_OR_RETURN(chosen.request, options.tensor_memo->Get(plan::Fingerprint(one), choose));
    }
    return chosen;
  }
  ALPA_ASSIGN_OR_RETURN(const plan::Executable executable, Lower(base, program, roles));
  ChooseAxisOptions choose;
  choose.cluster = options.cluster;
  choose.seconds = options.tensor_seconds;
  choose.leaves_only = plan::TakesRegionApart(plan) || options.sequence;
  return ChooseAxis(executable, request, mesh, choose);
}

// As Complete, and also returns the executable from which it takes the additions. `shares`: as PipelineOptions::shares.
absl::StatusOr<plan::Executable> CompleteAndLower(Plan& plan, const Graph& program, const plan::Roles& roles,
                                                  const std::vector<double>& shares = {}) {
  plan::Executable executable;
  if (plan::TakesRegionApart(plan)) {
    ALPA_ASSIGN_OR_RETURN(Staged staged, LowerStages(plan, program, roles, shares));
    executable = std::move(staged.executable);
    plan.stage_cuts = staged.cuts;
  } else {
    ALPA_ASSIGN_OR_RETURN(executable, Lower(plan, program, roles));
  }
  for (plan::StagePlan& stage : plan.stages) {
    stage.input_shardings.assign(roles.inputs.size(), std::nullopt);
    for (size_t p = 0; p < roles.inputs.size(); ++p) {
      for (const plan::RegionPlacement& region : executable.inputs[p].regions) {
        if (region.mesh == stage.mesh) stage.input_shardings[p] = region.sharding;
      }
    }
  }
  return executable;
}

}  // namespace

absl::Status Complete(Plan& plan, const Graph& program, const plan::Roles& roles) {
  return CompleteAndLower(plan, program, roles).status();
}

absl::StatusOr<Plan> MakePlan(const Graph& program, const plan::Roles& roles, const std::vector<DeviceId>& devices,
                              const PlanOptions& options) {
  ALPA_ASSIGN_OR_RETURN(PlanAndExecutable made, MakeAndLower(program, roles, devices, options));
  return std::move(made.plan);
}

absl::StatusOr<PlanAndExecutable> MakeAndLower(const Graph& program, const plan::Roles& roles,
                                               const std::vector<DeviceId>& devices, const PlanOptions& options) {
  ALPA_RETURN_IF_ERROR(CheckOptions(options, program, roles));
  const int64_t available = static_cast<int64_t>(devices.size());
  const int meshes = options.pipeline.meshes;
  const int64_t tensor = options.tensor_of(0);  // tensor degree of every mesh, if all are equal
  ALPA_ASSIGN_OR_RETURN(std::vector<int64_t> data, DataOfMeshes(options));
  std::optional<int64_t> pinned;
  if (data.empty()) {
    ALPA_ASSIGN_OR_RETURN(pinned, PinnedData(options));
    data.assign(meshes, pinned.value_or(std::max<int64_t>(1, available / (tensor * meshes))));
  } else {
    pinned = std::accumulate(data.begin(), data.end(), int64_t{1}, [](int64_t a, int64_t b) { return std::lcm(a, b); });
  }
  int64_t wanted = 0;
  for (int m = 0; m < meshes; ++m) wanted += data[m] * options.tensor_of(m);
  if (wanted > available) {
    return InvalidArgument("the plan needs %d devices, but only %d are available", wanted, available);
  }
  ALPA_ASSIGN_OR_RETURN(
      const BatchSplit split,
      SplitBatch(program, roles, options, pinned, std::max<int64_t>(1, available / (tensor * meshes))));
  if (options.pipeline.devices.empty()) data.assign(meshes, split.data);
  for (const plan::Seed& seed : split.search.seeds) {
    for (const plan::Cut& cut : options.tensor_cuts) {
      if (cut.leaf != seed.leaf || cut.dim != seed.dim) continue;
      return InvalidArgument(
          "a tensor cut names dimension %d of %s, but the batch is split along this dimension; name another dimension "
          "in the spec, or the batch dimensions with batch_dims",
          cut.dim, roles.inputs[cut.leaf].path);
    }
  }

  Plan plan;
  plan.program_fingerprint = graph::Fingerprint(program);
  plan.microbatches = std::max<int64_t>(1, options.microbatches);
  plan.batch_seeds = split.search.seeds;
  plan.statistics = options.statistics;
  plan.origin = Origin(options, pinned.has_value());
  // Lowering itself implements plain data parallelism on one mesh. In all other cases, the axis pass cuts a data axis.
  const bool zero = options.zero > 0 && split.data > 1;
  const bool data_as_axis = zero || TakesApart(options);
  if (data_as_axis && split.data > 1) {
    if (plan::MicrobatchesAreContiguous(plan)) {
      return Unimplemented(
          "%s with local statistics and several microbatches is not supported yet; use plain data parallelism, or "
          "microbatches=1",
          zero ? "ZeRO" : "data parallelism in a pipeline or with remat");
    }
    for (plan::Seed& seed : plan.batch_seeds) seed.outer = split.data;
  }
  auto next = devices.begin();
  for (int m = 0; m < meshes; ++m) {
    plan.meshes.push_back(MakeMesh(data[m], options.tensor_of(m), !data_as_axis, next));
    next += data[m] * options.tensor_of(m);
  }
  const int stages = meshes * options.pipeline.stages_per_mesh;
  plan::AxisCut data_axis;
  if (data_as_axis && split.data > 1) data_axis = DataAxis(program, roles, split, options);
  for (int s = 0; s < stages; ++s) {
    plan::StagePlan& stage = plan.stages.emplace_back();
    stage.mesh = MeshId(s % meshes);
    if (data_as_axis && data[s % meshes] > 1) stage.axes.push_back(data_axis);
    else if (!data_as_axis) stage.data_axis = 0;
  }
  if (options.remat == "layer") plan.remat = plan::Remat::kLayer;
  if (stages > 1) plan.schedule = options.pipeline.schedule;
  std::optional<ChosenAxis> first;
  std::map<std::pair<int64_t, int>, plan::AxisCut> axes;  // key: data and tensor degree; equal meshes share an axis
  for (plan::StagePlan& stage : plan.stages) {
    const int m = stage.mesh.value(), ways = options.tensor_of(m);
    if (ways == 1) continue;
    const auto [at, is_new] = axes.try_emplace({data[m], ways});
    plan::AxisCut& axis = at->second;
    if (is_new) {
      ALPA_ASSIGN_OR_RETURN(ChosenAxis chosen, TensorAxis(plan, stage, options, program, roles));
      axis.cuts = chosen.request.cuts;
      axis.pins = chosen.request.pins;
      if (options.sequence) axis.reduce_scatter_along = SequenceCuts(plan, ways, program);
      if (!first) first = std::move(chosen);
    }
    axis.mesh_axis = static_cast<int64_t>(plan.meshes[m].shape.size()) - 1;
    stage.axes.push_back(axis);
  }
  ALPA_ASSIGN_OR_RETURN(plan::Executable executable, CompleteAndLower(plan, program, roles, options.pipeline.shares));
  return PlanAndExecutable{std::move(plan), std::move(executable), std::move(first)};
}

}  // namespace alpa::planner
