// Where the forward of a region is cut into stages.
//
// Model:  forward ops stand in one order; a cut between two of them costs the bytes that are alive there. Among cuts under
//         which the slowest stage is hardly slower than the best possible one, the cheapest in bytes are taken.
// Source: the layer clustering of Alpa (OSDI'22, section 5.2), without its separate layers.
#pragma once

#include <cstdint>
#include <vector>

namespace alpa::planner {

struct ForwardOp {
  int64_t index = 0;     // of the op in its program
  double work = 0;       // FLOPs
  double bytes_before = 0;  // alive between the op before and this one
};

// Op indices at which stages 1, 2, ... begin: shares.size() - 1 of them, increasing; fewer where there are fewer ops.
// `shares`: how much work each stage's devices do in the same time, relative to each other.
std::vector<int64_t> ChooseStageCuts(const std::vector<ForwardOp>& forward, const std::vector<double>& shares);

}  // namespace alpa::planner
