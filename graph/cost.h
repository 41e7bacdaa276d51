// FLOPs and bytes of each op, for the planner's cost model and for reports.
#pragma once

#include "base/units.h"
#include "graph/graph.h"

namespace alpa::graph {

struct OpCost {
  Flops flops = 0;       // multiply-add counts 2; transcendental counts 1
  Bytes bytes_read = 0;  // every operand once; of a slice, dynamic slice or gather only what it takes
  Bytes bytes_written = 0;
};
OpCost CostOf(const Graph& graph, const Op& op);  // regions of loops counted once an iteration where known, else once
OpCost CostOf(const Graph& graph);                // the sum

}  // namespace alpa::graph
