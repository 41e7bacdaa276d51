// Gathers and scatters along a dimension that is cut: each chunk serves the indices that fall into its slice.
//
// A vocabulary-sharded embedding is such a gather: every chunk looks up what it has and gives zeros for the rest, so that the
// result is a partial sum; its gradient is such a scatter.
#pragma once

#include <functional>
#include <vector>

#include "graph/builder.h"
#include "planner/strategy/axis_state.h"

namespace alpa::planner {

// REQUIRES: IndexesAlong(split.dim) (strategy/rules.h), split.outer == 1. `operands` hold the chunk's slice of the first operand and the others
// whole. A gather gives a partial sum, widened as EmitLocalOp says; a scatter the chunk's slice of the result.
graph::ValueId EmitIndexedOp(graph::GraphBuilder& builder, const graph::Graph& program, const graph::Op& op,
                             const std::vector<graph::ValueId>& operands, const AxisState& split, int64_t chunks,
                             graph::ValueId chunk);

}  // namespace alpa::planner
