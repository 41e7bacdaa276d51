// Chooses the operands of an all-reduce that are packed into one message. Sending each small operand alone would
// cost one latency per operand.
#pragma once

#include <vector>

#include "base/units.h"
#include "graph/graph.h"

namespace alpa::fusion {

inline constexpr Bytes kPackBelow = 1 * kMiB;  // bytes; larger operands are sent alone

struct Packing {
  std::vector<bool> packed;  // one entry per operand
  Bytes scratch = 0;         // bytes of the largest message; all packed operands of one element type form one message
};
Packing PackingOf(const graph::Graph& graph, const graph::Op& all_reduce);

}  // namespace alpa::fusion
