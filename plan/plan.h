// What the planner decided: the answer to "how is this program run on that cluster". Immutable once verified,
// printable, and complete: loading a plan solves nothing again.
//
// Model:  the program runs as stages, each on one mesh. The microbatch axis cuts the batch `microbatches` ways in
//         time; inside a stage, mesh axes cut arrays in space. An axis (of time or space) is described by its seeds:
//         which dimension of which input it cuts; everything else follows from the rule table (planner/strategy).
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

inline constexpr int kPlanVersion = 1;
inline constexpr int kMaxStages = 64;

// "Input `leaf` (graph parameter) is cut on dimension `dim`, seen as [outer, chunks, the rest]": chunk c is [:, c, :].
struct Seed {
  int32_t leaf = -1;
  int64_t dim = 0;
  int64_t outer = 1;
  bool operator==(const Seed&) const = default;
};

// What happens where a statistic over the whole batch feeds back into each microbatch (batch normalisation).
enum class Statistics : uint8_t {
  kExact = 0,  // the true value: with k > 1 such a program is refused
  kLocal = 1,  // each microbatch uses its own, as GPipe does (over all devices that share it); the plan says so
};

// What the backward recomputes instead of keeping it from the forward.
enum class Remat : uint8_t {
  kNone = 0,
  kLayer = 1,  // each layer, from what is alive where it begins (Chen et al., arXiv 1604.06174)
};

// Which of two cuts decides where they meet in one op: the other is undone there. A value that is only stored in parts
// (ZeRO) is gathered where it meets the batch; what the user or the planner cut by name (a weight) stays cut.
enum class CutRank : uint8_t { kStored = 0, kBatch = 1, kPinned = 2 };

// An input leaf along a mesh axis. Leaves that no cut names follow what their new values are.
struct Cut {
  int32_t leaf = -1;
  int64_t dim = -1;  // of the leaf; -1: it stays whole
  CutRank rank = CutRank::kPinned;
  bool operator==(const Cut&) const = default;
};

// The op that makes value `value` of program `program` makes it in `state` along a mesh axis. Numbers are those of the executable
// that the axis is added to: the lowering along time, data and the axes before, leaves that the axis does not divide padded.
struct ValuePin {
  int32_t program = -1;
  int32_t value = -1;
  AxisState state;
  // In which states that op reads its operands; empty: of those with which it can make `state`, what changes least.
  std::vector<AxisState> operands;
  bool operator==(const ValuePin&) const = default;
};

// A mesh axis along which a stage is cut in space. What is neither a leaf nor pinned follows from the rule table.
struct AxisCut {
  int64_t mesh_axis = -1;
  std::vector<Cut> cuts;
  // True values of partial sums (gradients) of at least so many elements are taken in parts (reduce-scatter), and what is
  // made of them stays in parts: ZeRO. 0: never.
  int64_t reduce_scatter_from = 0;
  // So are accumulators of that size, which takes a reduce-scatter in each microbatch: ZeRO-2.
  bool shard_accumulators = false;
  // True values of other partial sums are taken in parts along the dimension that would be cut if these leaves were: sequence
  // sharding between the products of tensor parallelism.
  std::vector<Cut> reduce_scatter_along;
  // Where the rule table alone would do otherwise. Only where the region is not taken apart: its programs are others then.
  std::vector<ValuePin> pins;
  bool operator==(const AxisCut&) const = default;
};

struct StagePlan {
  // Several stages may share a mesh (an interleaved pipeline); they have the same axes then.
  MeshId mesh;
  // Mesh axis that carries data parallelism (cut along the same seeds as the microbatch), or -1. Where the region is taken
  // apart (several stages, or remat), data parallelism is one of `axes` instead.
  int64_t data_axis = -1;
  // Further axes, in the order of the mesh's, behind the data axis where there is one.
  std::vector<AxisCut> axes;
  // Sharding of each input leaf region on this stage's mesh (state leaves: where they live between steps).
  std::vector<std::optional<Sharding>> input_shardings;  // by graph parameter; nothing: not on this stage
};

struct Prediction {
  double step_seconds = 0;
  Bytes peak_device_memory = 0;
};

struct Plan {
  int version = kPlanVersion;
  uint64_t program_fingerprint = 0;
  std::vector<cluster::Mesh> meshes;
  int64_t microbatches = 1;                 // k
  std::vector<Seed> batch_seeds;            // of the microbatch axis and of data axes; empty: nothing is cut
  Statistics statistics = Statistics::kExact;
  std::string schedule = "none";            // "none" (one stage), "gpipe", "1f1b", "zero-bubble" (planner/schedule)
  std::vector<StagePlan> stages;
  // Where stages 1, 2, .. begin: increasing op numbers in the program of the region (the loop over microbatches), as the
  // lowering for one device writes it. What is not forward follows from these (planner/stage/labels.h).
  std::vector<int64_t> stage_cuts;
  Remat remat = Remat::kNone;
  Prediction predicted;
  std::string origin;                       // "pinned by the user: data parallel", for people
};

// The region is taken apart into forwards and backwards: there are several stages, or remat.
bool TakesRegionApart(const Plan& plan);

// How many ways the stage's axes cut dimension `dim` of input `leaf` by name.
int64_t WaysCut(const StagePlan& stage, const cluster::Mesh& mesh, int32_t leaf, int64_t dim);

// With local statistics it matters which examples form a microbatch: then the m-th is the m-th contiguous part of the
// batch, shared by all devices, and batches lie whole on every device. Otherwise each device's microbatches are parts of
// its own tile.
bool MicrobatchesAreContiguous(const Plan& plan);

// A few lines for people; without its program, leaves are told by their numbers.
std::string Print(const Plan& plan);
std::string Print(const Plan& plan, const graph::Graph& program, const Roles& roles);

// OK, or kInvalidArgument saying which part does not fit the program or cluster. Shares no code with the planner.
absl::Status Verify(const Plan& plan, const graph::Graph& program, const Roles& roles, const cluster::Cluster& cluster);

}  // namespace alpa::plan
