// Cuts a lowered step into pipeline stages and puts the stages on their meshes.
//
// Model:  1. Every op gets a stage (labels.h), sums over several stages are split (linear_sums.h), and programs become
//            cells (cells.h). The step is still on one mesh.
//         2. For each kind of mesh, all cells are cut along the axes of that mesh. The result is a *mesh variant*. The
//            variant contains all cells, so a value from another mesh also has a sharding on the mesh that receives it.
//            Each stage's cells come from the variant of its mesh.
//         3. The schedule (schedule/schedule.h) orders cells and messages. A value that crosses between meshes becomes
//            an edge with its sharding on both meshes. On each of these meshes, the value has one slot for each
//            microbatch in flight.
//         A value that does not change during a step (a leaf, a result of the prologue) crosses once per step.
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
  std::vector<std::vector<plan::AxisCut>> axes;   // one entry per mesh
  std::vector<int> mesh_of_stage;
  std::vector<int64_t> cuts;                      // as plan::Plan::stage_cuts; empty: LabelLoops chooses the cuts
  // One entry per mesh: its share of the work, relative to a mesh with the same number of devices. Empty: equal shares.
  std::vector<double> shares;
  Schedule schedule = Schedule::kOneForwardOneBackward;
  plan::Remat remat = plan::Remat::kNone;
};

struct Staged {
  plan::Executable executable;
  std::vector<int64_t> cuts;   // as plan::Plan::stage_cuts
};

// Cuts `executable` into the stages of `request`. Returns the new executable and the stage cuts.
// REQUIRES: an executable on one mesh of one device, as LowerInLoops writes it. Errors: as LabelLoops and CutAlongAxis.
absl::StatusOr<Staged> CutIntoStages(const plan::Executable& executable, const StageRequest& request);

// Runs the part of CutIntoStages that follows LabelLoops. `labels`: as LabelLoops returns them. The executable computes
// the same results with any labels.
absl::StatusOr<plan::Executable> AssembleStages(const plan::Executable& executable, Labels labels,
                                                const StageRequest& request);

}  // namespace alpa::planner
