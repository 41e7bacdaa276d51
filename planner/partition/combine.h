// Fewer, larger collectives: all-reduces over one set of axes that wait for nothing in between become one.
#pragma once

#include "graph/graph.h"

namespace alpa::planner {

// The same program with every all-reduce put off until something needs it, together with all others that are due by then.
// Results keep their order; each device of the axes still issues the same collectives in the same order.
graph::Graph CombineAllReduces(const graph::Graph& program);

}  // namespace alpa::planner
