// Makes a graph smaller without changing what it computes: dead code, common subexpressions, constant folding of small
// values, trivial reshapes, broadcasts, converts and transposes.
//
// Optimization barriers (jax.checkpoint writes them) stay, and equal expressions on different sides of one are not
// merged: recomputation that the user asked for survives.
#pragma once

#include "graph/graph.h"

namespace alpa::graph {

// Parameters are kept, also unused ones. Results keep their order.
Graph Simplify(const Graph& graph);

}  // namespace alpa::graph
