// Writes one op on chunk-sized operands: the same op with the sizes in its attributes adapted.
#pragma once

#include <functional>
#include <vector>

#include "graph/builder.h"
#include "planner/strategy/axis_state.h"

namespace alpa::planner {

// Writes `op` of `program` on `operands`, which are in `operand_states`. Returns its results in `result_states`.
// Partial results of 16-bit floats are f32. Operands that are partial sums of 16-bit floats may be f32, too.
// `chunk` returns the s32[] index of the chunk. EmitLocalOp calls it for an iota, and for a gather or scatter along an
// indexed dimension.
std::vector<graph::ValueId> EmitLocalOp(graph::GraphBuilder& builder, const graph::Graph& program, const graph::Op& op,
                                        const std::vector<graph::ValueId>& operands,
                                        const std::vector<AxisState>& operand_states,
                                        const std::vector<AxisState>& result_states, int64_t chunks,
                                        const std::function<graph::ValueId()>& chunk);

// Returns chunk `chunk` of the full value `whole`.
graph::ValueId SliceChunk(graph::GraphBuilder& builder, graph::ValueId whole, const AxisState& split, int64_t chunks,
                          graph::ValueId chunk);
// Returns `dims` with the split dimension viewed as [.., outer, chunks, inner, ..].
std::vector<int64_t> FactoredDims(const std::vector<int64_t>& dims, const AxisState& split, int64_t chunks);

}  // namespace alpa::planner
