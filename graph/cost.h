// FLOPs and bytes per op, for the planner's cost model and for reports.
#pragma once

#include "base/units.h"
#include "graph/graph.h"

namespace alpa::graph {

struct OpCost {
  Flops flops = 0;       // a multiply-add counts as 2 FLOPs, a transcendental function as 1
  Bytes bytes_read = 0;  // each operand counts once; if a slice or gather reads it, only the copied elements count
  Bytes bytes_written = 0;
};
// Counts saturate at the largest int64_t. A `while` counts its condition and its body once, because its trip count is
// unknown. A conditional counts as its most expensive branch.
OpCost CostOf(const Graph& graph, const Op& op);
OpCost CostOf(const Graph& graph);  // the sum of the costs of all ops

}  // namespace alpa::graph
