// Chooses a Plan for a program on some devices, within what the user pinned.
//
// Today it gives the plans that a user can pin: data parallelism (plain, or ZeRO's) times tensor parallelism over any devices,
// with k micro-batches. What is left open is chosen as: all devices, k = 1, seeds by search, tensor cuts by price.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "graph/graph.h"
#include "plan/plan.h"

namespace alpa::planner {

struct PlanOptions {
  int devices = 0;                      // how many of the given devices to use; 0: all
  int data_parallel = 0;                // 0: not pinned; otherwise it must equal the devices used
  int64_t microbatches = 0;             // 0: not pinned
  std::vector<plan::Seed> batch_dims;   // empty: found by search
  plan::Statistics statistics = plan::Statistics::kExact;
  int tensor_parallel = 0;              // ways in which weights are cut; 0 and 1: none. Data parallelism takes the rest
  int zero = 0;                         // ZeRO stage over the data-parallel devices: 1, 2 or 3; 0: none
  int64_t shard_from = 1024;            // ZeRO leaves smaller arrays whole: they are not worth a reduce-scatter and a gather
};

// A plan on the first of `devices`, verified by the caller with plan::Verify.
// Errors: kInvalidArgument where a pin contradicts itself or does not divide; kFailedPrecondition where the program cannot
// be split as pinned (the message names the op that couples the batch, its location, and what would work instead).
absl::StatusOr<plan::Plan> MakePlan(const graph::Graph& program, const plan::Roles& roles,
                                    const std::vector<DeviceId>& devices, const PlanOptions& options);

}  // namespace alpa::planner
