// Which operands of an all-reduce go together as one message: many small ones cost a latency each.
#pragma once

#include <vector>

#include "base/units.h"
#include "graph/graph.h"

namespace alpa::fusion {

inline constexpr Bytes kPackBelow = 1 * kMiB;

struct Packing {
  std::vector<bool> packed;  // by operand
  Bytes scratch = 0;         // for the largest package; operands of one type make one
};
Packing PackingOf(const graph::Graph& graph, const graph::Op& all_reduce);

}  // namespace alpa::fusion
