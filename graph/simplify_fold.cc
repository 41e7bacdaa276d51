#include <utility>

#include "graph/evaluator.h"
#include "graph/rewriter.h"

namespace alpa::graph::internal {

// Small results of constants, computed now. Broadcasts and iota stay: they are smaller as they are, and
// splitting them costs nothing.
std::optional<std::vector<ValueId>> Rewriter::Fold(const Candidate& op) {
  constexpr int64_t kMostElements = 1024;
  switch (op.opcode) {
    case Opcode::kConstant:
    case Opcode::kIota:
    case Opcode::kBroadcast:
    case Opcode::kConvolution:
    case Opcode::kReduceWindow:  // their windows may be far larger than their results
    case Opcode::kSelectAndScatter:
    case Opcode::kWhile:
    case Opcode::kConditional:
      return std::nullopt;
    default:
      break;
  }
  if (op.operands.empty() || IsCollective(op.opcode)) return std::nullopt;
  for (const auto& region : op.regions) {
    if (region->size() > 16) return std::nullopt;
    for (const Op& inner : region->ops()) {
      if (!inner.regions.empty()) return std::nullopt;
    }
  }
  for (const Shape& shape : op.shapes) {
    if (shape.elements() > kMostElements) return std::nullopt;
  }
  std::vector<Literal> literals;
  for (ValueId operand : op.operands) {
    const Literal* literal = AsConstant(operand);
    if (literal == nullptr || literal->shape().elements() > kMostElements) return std::nullopt;
    literals.push_back(*literal);
  }
  GraphBuilder alone;
  std::vector<ValueId> operands;
  for (const Literal& literal : literals) operands.push_back(alone.Parameter(literal.shape()));
  alone.SetResults(alone.AddOp(op.opcode, std::move(operands), op.shapes, op.attrs, op.regions));
  const Graph graph = alone.Build();
  absl::StatusOr<std::vector<Literal>> values = EvaluateOp(graph, graph.ops().back(), literals);
  if (!values.ok()) return std::nullopt;  // left to run time, which will say what is wrong
  std::vector<ValueId> results;
  for (Literal& value : *values) {
    Shape shape = value.shape();
    results.push_back(MakeOne({Opcode::kConstant, {}, {std::move(shape)}, ConstantAttrs{std::move(value)}}));
  }
  return results;
}

}  // namespace alpa::graph::internal
