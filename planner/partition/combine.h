// Combines all-reduces over the same mesh axes into fewer and larger ones.
#pragma once

#include "graph/graph.h"

namespace alpa::planner {

// Returns the same program with every all-reduce deferred until an op needs its result. At that point, one all-reduce
// replaces all deferred ones of the same kind over the same axes. The results of the program keep their order. As
// before, all devices of the axes issue the same collectives in the same order.
graph::Graph CombineAllReduces(const graph::Graph& program);

}  // namespace alpa::planner
