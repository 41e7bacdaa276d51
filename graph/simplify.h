// Makes a graph smaller without changing its results. Removes dead code, common subexpressions, and trivial reshapes,
// broadcasts, converts and transposes. Folds small constants.
//
// Optimization barriers stay; jax.checkpoint writes them. Equal expressions on different sides of a barrier are not
// merged, so that the recomputation that the user requested stays too.
#pragma once

#include "graph/graph.h"

namespace alpa::graph {

// Keeps all parameters, including unused ones, and the order of the results.
// REQUIRES: a verified graph.
Graph Simplify(const Graph& graph);

}  // namespace alpa::graph
