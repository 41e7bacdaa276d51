// What a client pinned about a plan, read the same way wherever somebody counts devices or checks the request.
//
// Threads: pure functions.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "proto/job_service.pb.h"

namespace alpa::plan {

inline constexpr int kMaxRequestedDevices = 1 << 20;

// OK, or what makes no sense in it whatever the program and the cluster: with reason BAD_REQUEST where a field is out
// of bounds or a word is unknown, NO_FEASIBLE_PLAN where two pins contradict each other.
absl::Status Check(const proto::PlanRequest& request);

// How many devices the pins ask for, at least 1. REQUIRES: Check(request) is OK.
int64_t DevicesNeeded(const proto::PlanRequest& request);
// Whether the number is left open, so that the job takes all that are free.
bool TakesAllDevices(const proto::PlanRequest& request);
// Nothing says in which ways the program is made parallel: the planner is to find out. How many devices, microbatches, and which
// dimensions are the batch's may be said.
bool LeavesParallelismOpen(const proto::PlanRequest& request);

// In how many meshes and stages; 1 and 1 without a pipeline.
int64_t MeshesOf(const proto::PlanRequest& request);
int64_t StagesPerMeshOf(const proto::PlanRequest& request);

}  // namespace alpa::plan
