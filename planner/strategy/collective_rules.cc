#include "planner/strategy/split_rules.h"

namespace alpa::planner {

using graph::Op;
using graph::Opcode;

namespace {

// Returns the state of the collective's result if operand `i` is in `state`. Returns nullopt if the collective needs
// this operand replicated.
std::optional<AxisState> Through(const RuleContext& context, const Op& op, size_t i, const AxisState& state) {
  const auto& attrs = op.as<graph::CollectiveAttrs>();
  const graph::Shape& from = context.graph->shape(op.operands[i]);
  const graph::Shape& to = context.graph->shape(op.results[i]);
  if (state.replicated()) return state;
  if (state.partial()) {
    // A reduction commutes with a reduction of the same kind. Data movement commutes with every reduction.
    const bool reduces = op.opcode == Opcode::kAllReduce || op.opcode == Opcode::kReduceScatter;
    return !reduces || attrs.kind == state.reduce ? std::optional(state) : std::nullopt;
  }
  AxisState result = state;
  switch (op.opcode) {
    case Opcode::kAllReduce:
      return result;
    case Opcode::kAllGather:
      // The result concatenates one block per device of the other axes. Each block is split like the operand.
      if (state.dim == attrs.dim) result.outer *= to.dims[attrs.dim] / from.dims[attrs.dim];
      break;
    case Opcode::kReduceScatter: {
      const int64_t ranks = from.dims[attrs.dim] / to.dims[attrs.dim];
      if (state.dim == attrs.dim) {
        if (state.outer % ranks != 0) return std::nullopt;
        result.outer /= ranks;
      }
      break;
    }
    case Opcode::kAllToAll:
      if (state.dim == attrs.dim || state.dim == attrs.concat_dim) return std::nullopt;
      break;
    case Opcode::kCollectivePermute:
      break;
    default:
      return std::nullopt;
  }
  return CanSplit(to.dims, result.dim, result.outer, context.chunks) ? std::optional(result) : std::nullopt;
}

}  // namespace

OpRule CollectiveRule(const RuleContext& context, const Op& op, const std::vector<AxisState>& states) {
  OpRule rule{states, std::vector<AxisState>(op.results.size())};
  for (size_t i = 0; i < states.size(); ++i) {
    const std::optional<AxisState> result = Through(context, op, i, states[i]);
    if (result) rule.results[i] = *result;
    else rule.operands[i] = AxisState::Replicated();
  }
  return rule;
}

}  // namespace alpa::planner
