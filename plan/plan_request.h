// The rules of a client's plan request: which pins are valid, and how many devices they need. The coordinator and the
// command line use the same rules.
//
// Threads: pure functions.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "proto/job_service.pb.h"

namespace alpa::plan {

inline constexpr int kMaxRequestedDevices = 1 << 20;  // maximum number of devices of a job

// Checks the parts of a request that do not depend on the program or the cluster. Returns OK or kInvalidArgument. The
// error's reason word is BAD_REQUEST if a field is out of bounds or a word is unknown, and NO_FEASIBLE_PLAN if two pins
// contradict each other.
absl::Status Check(const proto::PlanRequest& request);

// Returns the number of devices that the pins need, at least 1. REQUIRES: Check(request) is OK.
int64_t DevicesNeeded(const proto::PlanRequest& request);
// Returns whether the request leaves the number of devices open, so that the job gets all free devices.
bool TakesAllDevices(const proto::PlanRequest& request);
// Returns whether the request pins no kind of parallelism, so that the planner searches for one. The request may still
// pin the number of devices, the number of microbatches and the batch dimensions.
bool LeavesParallelismOpen(const proto::PlanRequest& request);

// MeshesOf returns the number of meshes, StagesPerMeshOf the number of stages per mesh. Both are 1 without a pipeline.
int64_t MeshesOf(const proto::PlanRequest& request);
int64_t StagesPerMeshOf(const proto::PlanRequest& request);

}  // namespace alpa::plan
