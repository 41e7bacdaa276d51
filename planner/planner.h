// Makes a Plan for a program on given devices. The plan keeps to the user's pins.
//
// Model:   Supports data parallelism (plain or ZeRO), tensor parallelism, pipeline stages and k microbatches, in nearly
//          any combination. An option that the user leaves open has a fixed value: one stage, k = 1, and as many
//          devices as can share the batch. MakePlan then searches for the seeds. It chooses the tensor axis by cost
//          (planner/intra_op). For the stage cuts, it weighs the balance of the work against the bytes that cross a
//          cut. Search (search/search.h) varies the open options.
// Threads: pure functions, except that PlanOptions::tensor_seconds limits the time of the exact choice.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/once_map.h"
#include "graph/graph.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "planner/intra_op/choose_axis.h"

namespace alpa::planner {

struct PipelineOptions {
  int meshes = 1;                       // number of meshes; 1: no pipeline
  int stages_per_mesh = 1;              // more than 1: interleaved
  std::string schedule = "1f1b";        // or "gpipe", "zero-bubble"
  std::vector<int> devices;             // one entry per mesh: number of devices; empty: the same number for every mesh
  std::vector<int> tensor;              // one entry per mesh: replaces tensor_parallel; needs `devices`; empty: unset
  // One entry per mesh: the work per device, relative to the other meshes. Empty: all devices get the same work. The
  // shares correct for costs that FLOPs do not show, such as a softmax over the vocabulary or a slower kind of device.
  std::vector<double> shares;
};

// The results of ChooseTensorCuts (choose_cuts.h). The key is the fingerprint of the plan without its tensor cuts.
using TensorCutsMemo = OnceMap<uint64_t, absl::StatusOr<AxisRequest>>;

struct PlanOptions {
  // The tensor degree of mesh `mesh`: the number of devices that split its weights. At least 1.
  int tensor_of(size_t mesh) const;
  int most_tensor() const;              // the largest tensor degree of any mesh
  int devices = 0;                      // how many of the given devices to use; 0: all
  int data_parallel = 0;                // data degree of every mesh; 0: not pinned
  int64_t microbatches = 0;             // k; 0: not pinned
  std::vector<plan::Seed> batch_dims;   // empty: the planner finds them
  plan::Statistics statistics = plan::Statistics::kExact;
  int tensor_parallel = 0;              // tensor degree; 0 and 1: none. Data parallelism uses the remaining devices
  int zero = 0;                         // ZeRO stage over the data-parallel devices: 1, 2 or 3; 0: none
  PipelineOptions pipeline;
  // Sequence sharding: between matrix products, the tensor axis also splits activations, along the dimension after the
  // batch dimension.
  bool sequence = false;
  // Cuts of state leaves along the tensor axis (dim -1: the leaf stays replicated). The planner chooses the cuts of all
  // other leaves.
  std::vector<plan::Cut> tensor_cuts;
  std::string remat = "none";           // "layer": the backward recomputes each layer from the values live at its start
  // true: planner/intra_op chooses the tensor axis. false: partition/choose_cuts.h does, which is faster but not exact.
  bool exact_tensor = true;
  // The cluster whose measured costs the exact choice uses. Null or not measured: fixed costs. Must outlive the call.
  const cluster::Cluster* cluster = nullptr;
  // If not null, keeps the results of ChooseTensorCuts between calls for the same program, roles and devices. Plans
  // that differ only in schedule or remat have the same tensor cuts. Must outlive the calls.
  TensorCutsMemo* tensor_memo = nullptr;
  double tensor_seconds = 10;           // time limit of the exact choice; it then returns the best solution so far
  // A search keeps every option that differs from its default value. A member of Named is true if the user named this
  // option. The search then keeps the option even if it has its default value.
  struct Named {
    bool schedule = false, remat = false, meshes = false, stages_per_mesh = false;
  } named;
  // ZeRO shards arrays of at least this number of elements. A smaller array stays replicated, because sharding it is
  // not worth a reduce-scatter and an all-gather.
  int64_t shard_from = 1024;
};

// Returns a plan. It uses the first `n` of `devices`, if it needs `n`. The caller verifies it with plan::Verify.
// Errors: kInvalidArgument if pins contradict each other, or if a size is not divisible as pinned. kFailedPrecondition
//         if the program cannot be split as pinned. The message names the op that couples the batch, its location, and
//         a change that would work. kUnimplemented if the pins ask for a combination that is not supported yet.
absl::StatusOr<plan::Plan> MakePlan(const graph::Graph& program, const plan::Roles& roles,
                                    const std::vector<DeviceId>& devices, const PlanOptions& options);

struct PlanAndExecutable {
  plan::Plan plan;
  plan::Executable executable;
  // The choice of the first tensor axis, if the plan has one, with its cost and the proven bound (planner/intra_op).
  std::optional<ChosenAxis> tensor;
};
// As MakePlan, and also returns the executable of the plan. MakePlan computes the executable as well, but discards it.
absl::StatusOr<PlanAndExecutable> MakeAndLower(const graph::Graph& program, const plan::Roles& roles,
                                               const std::vector<DeviceId>& devices, const PlanOptions& options);

// Adds the parts of a plan that follow from the other parts: the shardings of leaves, and the stage cuts if the plan
// has several stages and no cuts. Errors: as Lower.
absl::Status Complete(plan::Plan& plan, const graph::Graph& program, const plan::Roles& roles);

}  // namespace alpa::planner
