// Cuts a lowered step into pipeline stages on meshes of their own.
//
// Model:  1. every op gets a stage (labels.h), sums from several stages are split (linear_sums.h), programs become cells
//            (cells.h), still on one mesh.
//         2. For each kind of mesh, the whole of it is cut along that mesh's axes, so that also what comes from other meshes has
//            the sharding that it has in its own part. Each stage's cells are taken from the version of its mesh.
//         3. The schedule (schedule/schedule.h) puts cells and messages in order; a value that crosses becomes an edge
//            between the two shardings, and a slot for each microbatch that is in flight.
//         What does not change in a step (leaves, what the prologue made) crosses once a step.
// Threads: a pure function.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "planner/schedule/schedule.h"
#include "planner/stage/labels.h"

namespace alpa::planner {

struct StageRequest {
  std::vector<cluster::Mesh> meshes;
  std::vector<std::vector<plan::AxisCut>> axes;   // by mesh
  std::vector<int> mesh_of_stage;
  std::vector<int64_t> cuts;                      // as plan::Plan::stage_cuts; empty: chosen
  std::vector<double> shares;                     // by mesh: of the work, relative to others of as many devices; empty: alike
  Schedule schedule = Schedule::kOneForwardOneBackward;
  plan::Remat remat = plan::Remat::kNone;
};

struct Staged {
  plan::Executable executable;
  std::vector<int64_t> cuts;
};

// REQUIRES: an executable on one mesh of one device, as lowering writes it. Errors: as LabelLoops and CutAlongAxis.
absl::StatusOr<Staged> CutIntoStages(const plan::Executable& executable, const StageRequest& request);

// The second half of it, for labels of the programs in loops (or of the only program). Any labels give the same results.
absl::StatusOr<plan::Executable> AssembleStages(const plan::Executable& executable, Labels labels, const StageRequest& request);

}  // namespace alpa::planner
