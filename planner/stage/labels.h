// Labels each op of a lowered step with a stage.
//
// Model:  The *region* of a step is the loop that does more work than any other loop. The structure of its program
//         decides the labels. An op is *forward* if every gradient depends on it. The plan's stage cuts divide the
//         forward. An op is *backward* if it depends on the end of the forward. The other ops on the main path are
//         *recomputed* forward: derivatives that are computed early, and recomputation after a checkpoint. A value that
//         does not depend on both state and batch (a mask, a label, a converted or transposed weight) is off the main
//         path. Such a value gets the stage of its earliest reader.
//         A backward op gets the lowest stage of its backward operands, forward operands and weights. If it only leads
//         to the gradient of one parameter, it gets the stage of this parameter instead. Therefore, the backward of
//         each layer and the gradients of its weights get the stage of the layer's forward.
//         A leaf gets the stage of its earliest reader. Slots that are updated together get the same stage.
// Correctness does not depend on the labels: with any labels, the split computes the same results (cells.h).
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "plan/executable.h"
#include "plan/plan.h"

namespace alpa::planner {

struct LabelRequest {
  // The op indices in the region's program at which stages 1, 2, .. begin. Empty: LabelLoops chooses them.
  std::vector<int64_t> cuts;
  // One entry per stage: the work that its devices do in a given time, relative to other stages. The size of the list
  // is the number of stages.
  std::vector<double> shares;
};

struct Labels {
  std::vector<std::vector<int>> op_stage;        // one entry per program and op
  std::vector<std::vector<bool>> backward;       // one entry per program and op; false in LabelRest's programs
  // One entry per program and op: the number of its layer in the region's forward, counted over all stages. -1: the op
  // is not in that forward. Layers begin at ops where few bytes are live.
  std::vector<std::vector<int>> layer;
  std::vector<int> slot_stage;                   // one entry per slot; 0 for a leaf without readers
  std::vector<int64_t> cuts;                     // the cuts of the region
};

// LabelLoops labels the programs in loops, or the only program if there is no loop. Then LabelRest labels the other
// programs. Between the two calls, SplitSums (linear_sums.h) may split accumulators.
// Errors: kInvalidArgument if the number of stages is not possible, or if the cuts are not increasing op indices of the
//         region. kFailedPrecondition if the region has too few ops for the number of stages, or if no program runs.
absl::StatusOr<Labels> LabelLoops(const plan::Executable& executable, const LabelRequest& request);
void LabelRest(const plan::Executable& executable, Labels& labels);

}  // namespace alpa::planner
