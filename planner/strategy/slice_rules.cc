#include <algorithm>

#include "planner/strategy/rules.h"
#include "planner/strategy/split_rules.h"

namespace alpa::planner {

using graph::Op;
using graph::Opcode;

std::optional<std::vector<AxisState>> OperandsForSlice(const RuleContext& context, const Op& op,
                                                       const AxisState& result) {
  const graph::Graph& graph = *context.graph;
  if (op.results.size() != 1 || !result.split()) return std::nullopt;
  const graph::Shape& shape = graph.shape(op.results[0]);
  std::vector<AxisState> operands(op.operands.size());
  auto operand_dims = [&](size_t i) -> const std::vector<int64_t>& { return graph.shape(op.operands[i]).dims; };
  auto split = [&](size_t i, int64_t dim) {
    if (!CanSplit(operand_dims(i), dim, result.outer, context.chunks)) return false;
    operands[i] = AxisState::Split(dim, result.outer);
    return true;
  };

  if (graph::IsElementwise(op.opcode)) {
    if (op.opcode == Opcode::kBitcastConvert && graph.shape(op.operands[0]).rank() != shape.rank()) return std::nullopt;
    for (size_t i = 0; i < operands.size(); ++i) {
      if (operand_dims(i).empty()) continue;  // scalar bounds of a clamp, or a scalar predicate
      if (!split(i, result.dim)) return std::nullopt;
    }
    return operands;
  }
  // Splits operand i into blocks of the result's block size (split_rules.cc).
  auto split_blocks = [&](size_t i) {
    const int64_t block = shape.dims[result.dim] / result.outer;
    const std::optional<AxisState> state = SplitOfBlocks(operand_dims(i), result.dim, block, context.chunks);
    if (state) operands[i] = *state;
    return state.has_value();
  };
  switch (op.opcode) {
    case Opcode::kIota:
      return operands;  // lowering adds the offset of the chunk
    case Opcode::kBroadcast: {
      const auto& dims = op.as<graph::DimsAttrs>().dims;
      for (size_t d = 0; d < dims.size(); ++d) {
        if (dims[d] == result.dim && !split(0, d)) return std::nullopt;
      }
      return operands;  // the broadcast only makes a shorter dimension
    }
    case Opcode::kTranspose:
      return split(0, op.as<graph::DimsAttrs>().dims[result.dim]) ? std::optional(operands) : std::nullopt;
    case Opcode::kReshape: {
      std::optional<AxisState> moved = ReshapeSplit(shape.dims, result, operand_dims(0), context.chunks);
      if (!moved) return std::nullopt;
      operands[0] = *moved;
      return operands;
    }
    case Opcode::kReverse: {
      const auto& dims = op.as<graph::DimsAttrs>().dims;
      if (std::find(dims.begin(), dims.end(), result.dim) != dims.end()) return std::nullopt;
      return split(0, result.dim) ? std::optional(operands) : std::nullopt;
    }
    case Opcode::kConcatenate:
      for (size_t i = 0; i < operands.size(); ++i) {
        const bool joined = op.as<graph::DimsAttrs>().dims[0] == result.dim;
        if (joined ? !split_blocks(i) : !split(i, result.dim)) return std::nullopt;
      }
      return operands;
    case Opcode::kSlice: {
      const auto& attrs = op.as<graph::SliceAttrs>();
      const int64_t block = shape.dims[result.dim] / result.outer;
      if (attrs.strides[result.dim] != 1 || block == 0 || attrs.starts[result.dim] % block != 0) return std::nullopt;
      return split_blocks(0) ? std::optional(operands) : std::nullopt;
    }
    case Opcode::kPad: {
      const auto& attrs = op.as<graph::PadAttrs>();
      const int64_t block = shape.dims[result.dim] / result.outer;
      if (attrs.interior[result.dim] != 0 || block == 0 || attrs.low[result.dim] % block != 0) return std::nullopt;
      return split_blocks(0) ? std::optional(operands) : std::nullopt;
    }
    case Opcode::kScatter:
      if (!context.cut_indexed || result.outer != 1 || !IndexesAlong(graph, op, result.dim)) return std::nullopt;
      return split(0, result.dim) ? std::optional(operands) : std::nullopt;
    case Opcode::kOptimizationBarrier:
      return split(0, result.dim) ? std::optional(operands) : std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace alpa::planner
