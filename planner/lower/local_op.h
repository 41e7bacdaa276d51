// One op on chunk-sized operands: the same op with the sizes in its attributes made to fit.
#pragma once

#include <functional>
#include <vector>

#include "graph/builder.h"
#include "planner/strategy/axis_state.h"

namespace alpa::planner {

// Writes `op` of `program` reading `operands`, whose states are `operand_states`, with results in `result_states`.
// Partial results of 16-bit floats come out as f32; operands may be f32 for the same reason.
// `chunk` is the s32[] index of the chunk (used by iota alone).
std::vector<graph::ValueId> EmitLocalOp(graph::GraphBuilder& builder, const graph::Graph& program, const graph::Op& op,
                                        const std::vector<graph::ValueId>& operands,
                                        const std::vector<AxisState>& operand_states,
                                        const std::vector<AxisState>& result_states, int64_t chunks,
                                        const std::function<graph::ValueId()>& chunk);

// The type in which partial values of `dtype` are kept.
graph::DType Widened(graph::DType dtype);

// Chunk `chunk` of a whole value; and the [.., outer, chunks, inner, ..] view of its dims.
graph::ValueId SliceChunk(graph::GraphBuilder& builder, graph::ValueId whole, const AxisState& split, int64_t chunks,
                          graph::ValueId chunk);
std::vector<int64_t> FactoredDims(const std::vector<int64_t>& dims, const AxisState& split, int64_t chunks);

}  // namespace alpa::planner
