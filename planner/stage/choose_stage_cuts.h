// Chooses the ops at which the forward of a region is cut into stages.
//
// Model:  The forward ops have a fixed order. A cut between two ops costs the bytes that are live there. The choice
//         trades these bytes against the time of the slowest stage, compared with an even division of the work.
// Source: the layer clustering of Alpa (OSDI'22, section 5.2). Here, it forms stages directly, without layers.
#pragma once

#include <cstdint>
#include <vector>

namespace alpa::planner {

struct ForwardOp {
  int64_t index = 0;     // index of the op in its program
  double work = 0;       // FLOPs
  double bytes_before = 0;  // bytes that are live between the previous op and this op
};

// Returns the op indices at which stages 1, 2, ... begin, in increasing order. The list has shares.size() - 1 entries,
// or fewer if there are too few ops. `shares`: one entry per stage, the work that the stage's devices do in a given
// time, relative to other stages.
std::vector<int64_t> ChooseStageCuts(const std::vector<ForwardOp>& forward, const std::vector<double>& shares);

}  // namespace alpa::planner
