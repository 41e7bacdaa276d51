#include <utility>

#include "graph/evaluator.h"
#include "graph/rewriter.h"

namespace alpa::graph::internal {

// Computes ops with constant operands and small results. Broadcasts and iotas stay, because they need less memory than
// their results and cost nothing to split across devices.
std::optional<std::vector<ValueId>> Rewriter::Fold(const Candidate& op) {
  constexpr int64_t kMostElements = 1024;  // limits the elements of each operand and each result
  switch (op.opcode) {
    case Opcode::kConstant:
    case Opcode::kIota:
    case Opcode::kBroadcast:
    case Opcode::kConvolution:
    case Opcode::kReduceWindow:  // not folded, because the window can be far larger than the result
    case Opcode::kSelectAndScatter:
    case Opcode::kWhile:
    case Opcode::kConditional:
      return std::nullopt;
    default:
      break;
  }
  if (op.operands.empty() || IsCollective(op.opcode)) return std::nullopt;
  // Fold an op only if each of its regions has at most 16 ops and no nested regions.
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
  if (!values.ok()) return std::nullopt;  // the op stays, and the error appears at run time
  std::vector<ValueId> results;
  for (Literal& value : *values) {
    Shape shape = value.shape();
    results.push_back(MakeOne({Opcode::kConstant, {}, {std::move(shape)}, ConstantAttrs{std::move(value)}}));
  }
  return results;
}

}  // namespace alpa::graph::internal
