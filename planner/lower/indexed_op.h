// Writes gathers and scatters along a split dimension. Each chunk handles the indices that point into its slice.
//
// The lookup in a vocabulary-sharded embedding is such a gather. Every chunk looks up the rows that it holds and
// returns zeros for all other rows, so the result is a partial sum. The gradient of the embedding is such a scatter.
#pragma once

#include <functional>
#include <vector>

#include "graph/builder.h"
#include "planner/strategy/axis_state.h"

namespace alpa::planner {

// Writes `op` for one chunk. `operands`: the chunk's slice of the first operand, and the other operands in full. A
// gather returns a partial sum, widened like the partial results of EmitLocalOp. A scatter returns the chunk's slice of
// the result. `chunk`: the chunk's index, an integer scalar.
// REQUIRES: IndexesAlong(program, op, split.dim) (strategy/rules.h), split.outer == 1.
graph::ValueId EmitIndexedOp(graph::GraphBuilder& builder, const graph::Graph& program, const graph::Op& op,
                             const std::vector<graph::ValueId>& operands, const AxisState& split, int64_t chunks,
                             graph::ValueId chunk);

}  // namespace alpa::planner
