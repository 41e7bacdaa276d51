// Chooses a Plan for a program on some devices, within what the user pinned.
//
// Today it gives the plans that a user can pin: data parallelism (plain, or ZeRO's) times tensor parallelism over any devices, times
// pipeline stages, with k microbatches. What is left open is chosen as: all devices, one stage, k = 1, seeds by search,
// the tensor axis exactly, by price (planner/intra_op), stage cuts by balance and bytes.
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
  int meshes = 1;                       // how many; 1: no pipeline
  int stages_per_mesh = 1;              // more: interleaved
  std::string schedule = "1f1b";        // or "gpipe", "zero-bubble"
  std::vector<int> devices;             // of each mesh; empty: all alike
  std::vector<int> tensor;              // by mesh, where `devices` is given: in place of tensor_parallel; empty: all alike
  // By mesh: how much of the work its stages take, relative to others on as many devices; empty: as much. Balances what FLOPs do not
  // tell: a vocabulary's softmax, a slower kind of device.
  std::vector<double> shares;
};

// What choose_cuts.h finds, by the fingerprint of the plan that it is found for.
using TensorCutsMemo = OnceMap<uint64_t, absl::StatusOr<AxisRequest>>;

struct PlanOptions {
  // Ways in which weights are cut on a mesh.
  int tensor_of(size_t mesh) const;
  int most_tensor() const;              // of all meshes
  int devices = 0;                      // how many of the given devices to use; 0: all
  int data_parallel = 0;                // of each mesh; 0: not pinned
  int64_t microbatches = 0;             // 0: not pinned
  std::vector<plan::Seed> batch_dims;   // empty: found by search
  plan::Statistics statistics = plan::Statistics::kExact;
  int tensor_parallel = 0;              // ways in which weights are cut; 0 and 1: none. Data parallelism takes the rest
  int zero = 0;                         // ZeRO stage over the data-parallel devices: 1, 2 or 3; 0: none
  PipelineOptions pipeline;
  bool sequence = false;                // between its products, tensor parallelism cuts what it computes along the batch's next dimension
  std::vector<plan::Cut> tensor_cuts;   // leaves whose cut along the tensor axis is given (dim -1: whole); the rest is chosen
  std::string remat = "none";           // "layer": the backward recomputes each layer from where it begins
  // How the tensor axis is chosen: exactly (planner/intra_op), or as partition/choose_cuts.h does, at once.
  bool exact_tensor = true;
  // What prices the exact choice, where it is measured; null: fixed prices. Must outlive the call.
  const cluster::Cluster* cluster = nullptr;
  // Kept between calls for one program, its roles and devices, where not null: plans that differ in their schedule or remat alone have
  // the same tensor axis. Must outlive the calls.
  TensorCutsMemo* tensor_memo = nullptr;
  double tensor_seconds = 10;           // that the exact choice may take; then the best that was found
  // A search keeps to whatever differs from these defaults, and to the default where the user named it.
  struct Named {
    bool schedule = false, remat = false, meshes = false, stages_per_mesh = false;
  } named;
  int64_t shard_from = 1024;            // ZeRO leaves smaller arrays whole: they are not worth a reduce-scatter and a gather
};

// A plan on the first of `devices`, verified by the caller with plan::Verify.
// Errors: kInvalidArgument where a pin contradicts itself or does not divide; kFailedPrecondition where the program cannot
// be split as pinned (the message names the op that couples the batch, its location, and what would work instead).
absl::StatusOr<plan::Plan> MakePlan(const graph::Graph& program, const plan::Roles& roles,
                                    const std::vector<DeviceId>& devices, const PlanOptions& options);

// The same with what the plan lowers to, which is made on the way.
struct PlanAndExecutable {
  plan::Plan plan;
  plan::Executable executable;
  // How the (first) tensor axis was chosen, where there is one: what is proven, and what it costs (planner/intra_op).
  std::optional<ChosenAxis> tensor;
};
absl::StatusOr<PlanAndExecutable> MakeAndLower(const graph::Graph& program, const plan::Roles& roles,
                                               const std::vector<DeviceId>& devices, const PlanOptions& options);

// Adds to a plan what follows from the rest of it: where leaves lie, and stage cuts where it has several stages and no cuts.
// Errors: as Lower.
absl::Status Complete(plan::Plan& plan, const graph::Graph& program, const plan::Roles& roles);

}  // namespace alpa::planner
