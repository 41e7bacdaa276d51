// A plan: all decisions on how a program runs on a cluster. A plan is complete, so nothing is left to plan when a plan
// is loaded. After verification, a plan does not change.
//
// Model:   The program runs as stages, each on one mesh. The microbatch axis splits the batch into `microbatches` parts
//          in time. Inside a stage, mesh axes split arrays in space. The plan describes an axis (of time or space)
//          by the input dimensions that the axis splits. The states of all other values follow from the rule table
//          (planner/strategy).
// Region:  In this file, "the region" is the part of the step that runs once per microbatch.
// Threads: value types and pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cluster/cluster.h"
#include "plan/axis_state.h"
#include "plan/roles.h"
#include "plan/sharding.h"

namespace alpa::plan {

inline constexpr int kPlanVersion = 1;  // version of the plan format; a build reads only this version
inline constexpr int kMaxStages = 64;   // maximum number of stages of a plan, over all meshes

// "Input leaf `leaf` is split along dimension `dim`." The dimension is viewed as [outer, chunks, inner]. Chunk c is the
// slice [:, c, :].
struct Seed {
  int32_t leaf = -1;  // graph parameter
  int64_t dim = 0;
  int64_t outer = 1;
  bool operator==(const Seed&) const = default;
};

// The way in which the plan treats a statistic over the whole batch that feeds back into each microbatch (batch
// normalisation).
enum class Statistics : uint8_t {
  kExact = 0,  // each microbatch uses the statistic of the whole batch; with k > 1 such a program is refused
  kLocal = 1,  // each microbatch uses its own statistic, over all devices that hold a part of this microbatch (GPipe)
};

// Selects the forward values that the backward recomputes instead of saving them.
enum class Remat : uint8_t {
  kNone = 0,
  kLayer = 1,  // all values of a layer, from the values that are live at its start (Chen et al., arXiv 1604.06174)
};

// The priority of a cut. If two cuts meet in one op, the cut of higher rank stays, and the value with the other cut is
// gathered. A value that is only stored sharded (ZeRO) is gathered if it meets a split batch. A weight that the user or
// the planner cuts by name stays split.
enum class CutRank : uint8_t { kStored = 0, kBatch = 1, kPinned = 2 };

// The split of an input leaf along a mesh axis. A state leaf that no cut names is stored in the state in which the step
// computes its new value.
struct Cut {
  int32_t leaf = -1;  // graph parameter
  int64_t dim = -1;   // dimension of the leaf; -1: replicated along the axis
  CutRank rank = CutRank::kPinned;
  bool operator==(const Cut&) const = default;
};

// Pins a value along a mesh axis: the op that computes value `value` of program `program` must produce it in `state`.
// `program` and `value` are indices in the executable to which the axis is added. That executable is lowered along
// time, the data axis and all earlier axes. In that executable, leaves that the axis does not divide are padded.
struct ValuePin {
  int32_t program = -1;
  int32_t value = -1;
  AxisState state;
  // The states in which that op reads its operands. If empty, lowering chooses from the states with which the op can
  // produce `state`. Among these states, lowering takes those that change the operands least.
  std::vector<AxisState> operands;
  bool operator==(const ValuePin&) const = default;
};

// A mesh axis along which a stage is cut in space. The states of values without a cut or a pin follow from the rule
// table.
struct AxisCut {
  int64_t mesh_axis = -1;
  std::vector<Cut> cuts;
  // ZeRO: partial sums (gradients) of at least this number of elements are reduce-scattered, and values computed from
  // the results stay sharded. 0: no partial sum is reduce-scattered. Wire name: shard_truths_from.
  int64_t reduce_scatter_from = 0;
  // ZeRO-2: accumulators of at least `reduce_scatter_from` elements are sharded too. Sharded accumulators need a
  // reduce-scatter in each microbatch.
  bool shard_accumulators = false;
  // Sequence sharding between the products of tensor parallelism. These cuts are not applied to the leaves. They only
  // determine along which dimension the other partial sums are reduce-scattered: the dimension that would be split if
  // these cuts were applied. Wire name: truths_along.
  std::vector<Cut> reduce_scatter_along;
  // Pins of values for which the rule table alone would choose another state. Must be empty if TakesRegionApart,
  // because lowering then splits the region into other programs.
  std::vector<ValuePin> pins;
  bool operator==(const AxisCut&) const = default;
};

struct StagePlan {
  // Several stages may share a mesh (an interleaved pipeline). Stages that share a mesh have the same axes.
  MeshId mesh;
  // The mesh axis of data parallelism, or -1. The data axis splits the same seeds as the microbatch axis. If
  // TakesRegionApart (several stages, or remat), `data_axis` is -1, and data parallelism is one of `axes`.
  int64_t data_axis = -1;
  // All axes of the mesh except the data axis, in the order of the mesh. The data axis, if there is one, comes before
  // them.
  std::vector<AxisCut> axes;
  // One entry per graph parameter: the sharding of the leaf on the mesh of this stage, or nothing if the leaf is not on
  // this mesh. State leaves keep this sharding between steps.
  std::vector<std::optional<Sharding>> input_shardings;
};

struct Prediction {
  double step_seconds = 0;       // 0: not predicted
  Bytes peak_device_memory = 0;  // the peak of the device that uses the most memory
};

struct Plan {
  int version = kPlanVersion;
  uint64_t program_fingerprint = 0;
  std::vector<cluster::Mesh> meshes;
  int64_t microbatches = 1;                 // k
  std::vector<Seed> batch_seeds;            // seeds of the microbatch axis and the data axes; empty: no input is split
  Statistics statistics = Statistics::kExact;
  std::string schedule = "none";            // "none" (one stage), "gpipe", "1f1b", "zero-bubble" (planner/schedule)
  std::vector<StagePlan> stages;
  // The ops at which stages 1, 2, ... begin: increasing indices in the program of the region, as lowered for one
  // device. The cuts divide only the forward. The stages of all other ops follow from them (planner/stage/labels.h).
  std::vector<int64_t> stage_cuts;
  Remat remat = Remat::kNone;
  Prediction predicted;
  std::string origin;                       // human-readable: who decided, such as "pinned by the user"
};

// Returns whether lowering splits the region into cells (forwards and backwards). It does so if the plan has several
// stages or remat.
bool TakesRegionApart(const Plan& plan);

// Returns the number of ways in which the cuts of the stage split dimension `dim` of input `leaf`: the product of the
// axis sizes.
int64_t WaysCut(const StagePlan& stage, const cluster::Mesh& mesh, int32_t leaf, int64_t dim);

// Returns whether microbatch m is the m-th contiguous part of the complete batch. If so, batches are replicated on
// every device, and all devices share each microbatch. The result is true if k > 1 and the statistics are local,
// because the choice of examples for a microbatch then affects its statistics. If the result is false, each device
// splits its own tile of the batch into microbatches.
bool MicrobatchesAreContiguous(const Plan& plan);

// Returns a few human-readable lines. Without the program, the lines name leaves by number instead of by path.
std::string Print(const Plan& plan);
std::string Print(const Plan& plan, const graph::Graph& program, const Roles& roles);

// Returns OK, or kInvalidArgument with a message that names the part of the plan that does not fit the program or the
// cluster. Shares no code with the planner.
absl::Status Verify(const Plan& plan, const graph::Graph& program, const Roles& roles, const cluster::Cluster& cluster);

}  // namespace alpa::plan
