// Makes a graph smaller without changing its results. Removes dead code, common subexpressions, and trivial reshapes,
// broadcasts, converts and transposes. Folds small constants.
//
// Keeps optimization barriers, which jax.checkpoint creates. Does not merge equal expressions on different sides of a
// barrier, because the user requested the recomputation with jax.checkpoint.
#pragma once

#include "graph/graph.h"

namespace alpa::graph {

// Keeps all parameters, including unused ones, and the order of the results.
// REQUIRES: a verified graph.
Graph Simplify(const Graph& graph);

}  // namespace alpa::graph
