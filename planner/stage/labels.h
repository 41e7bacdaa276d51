// Says in which stage each op of a lowered step belongs.
//
// Model:  the region (the loop that does most of the work) is read by structure. *Forward* is what every gradient depends on; it
//         is cut where the plan says. What follows from its end is *backward*; the rest (derivatives taken early, what is
//         recomputed behind a checkpoint) is *remade* forward. Values that do not depend on both state and batch (masks,
//         labels, weights cast or transposed) lie off the main path and take their earliest reader's stage.
//         A backward op takes the least of its backward operands' stages and those of the forward values and weights that it
//         combines them with; but one that leads to a single parameter's gradient takes that parameter's. So each layer's
//         backward, and its weights' gradients, come to lie where its forward lies.
//         Leaves lie with their earliest reader; what is updated together lies together.
// Correctness does not depend on any of this: whatever the labels, the split computes the same (cells.h).
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "plan/executable.h"
#include "plan/plan.h"

namespace alpa::planner {

struct LabelRequest {
  // Op indices in the region's program at which stages 1, 2, .. begin. Empty: to be chosen.
  std::vector<int64_t> cuts;
  // By stage: how much work its devices do in the same time, relative to each other.
  std::vector<double> shares;
};

struct Labels {
  std::vector<std::vector<int>> op_stage;        // by program, by op
  std::vector<std::vector<bool>> backward;       // by program, by op: only in loops
  // By program, by op: the layer of the region's forward, counted through all stages; -1: not of that forward. Layers begin where
  // hardly more is alive than anywhere else.
  std::vector<std::vector<int>> layer;
  std::vector<int> slot_stage;                   // by slot: where it lies; leaves that nobody reads: 0
  std::vector<int64_t> cuts;
};

// Labels of the programs in loops, or of the only program where there is no loop; then, with LabelRest, of the others. Between the
// two, accumulators may be split (linear_sums.h). kInvalidArgument: cuts that are not increasing op indices of the region;
// kFailedPrecondition: the region has too few ops for so many stages.
absl::StatusOr<Labels> LabelLoops(const plan::Executable& executable, const LabelRequest& request);
void LabelRest(const plan::Executable& executable, Labels& labels);

}  // namespace alpa::planner
