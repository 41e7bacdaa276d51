#include "planner/strategy/split_rules.h"

namespace alpa::planner {

using graph::DType;
using graph::Op;
using graph::Opcode;
using graph::ReduceKind;
using graph::Shape;

// Covers ops that commute with the reduction over chunks. The list is limited on purpose to cheap ops that do not make
// the value larger. Every other op is better done once, on the reduced value.
std::optional<OpRule> PartialRule(const RuleContext& context, const Op& op, const std::vector<AxisState>& states) {
  const graph::Graph& graph = *context.graph;
  if (op.results.size() != 1) return std::nullopt;
  auto shape = [&](size_t i) -> const Shape& { return graph.shape(op.operands[i]); };
  auto partial = [&](size_t i) { return states[i].partial(); };
  const Shape& result = graph.shape(op.results[0]);

  ReduceKind kind = ReduceKind::kSum;
  for (size_t i = 0; i < states.size(); ++i) {
    if (partial(i)) kind = states[i].reduce;
  }
  const bool sum = kind == ReduceKind::kSum;
  OpRule rule{std::vector<AxisState>(op.operands.size()), {AxisState::Partial(kind)}};
  // Requires operand i to be partial. Returns false unless it is a partial of this kind, or a zero in a sum.
  auto want_partial = [&](size_t i) {
    if (partial(i) ? states[i].reduce != kind : !(sum && context.is_zero(op.operands[i]))) return false;
    rule.operands[i] = AxisState::Partial(kind);
    return true;
  };

  switch (op.opcode) {
    case Opcode::kCopy:
    case Opcode::kReshape:
    case Opcode::kTranspose:
    case Opcode::kSlice:
    case Opcode::kReverse:
      return want_partial(0) ? std::optional(rule) : std::nullopt;
    case Opcode::kDynamicSlice:
      for (size_t i = 1; i < states.size(); ++i) {
        if (partial(i)) return std::nullopt;
      }
      return want_partial(0) ? std::optional(rule) : std::nullopt;
    case Opcode::kBroadcast:
      return result.elements() == shape(0).elements() && want_partial(0) ? std::optional(rule) : std::nullopt;
    case Opcode::kConcatenate:
      for (size_t i = 0; i < states.size(); ++i) {
        if (!want_partial(i)) return std::nullopt;
      }
      return rule;
    case Opcode::kConvert: {
      const DType from = shape(0).dtype, to = result.dtype;
      const bool linear = sum && graph::IsFloat(to) && (graph::IsFloat(from) || graph::IsInteger(from));
      return linear && want_partial(0) ? std::optional(rule) : std::nullopt;
    }
    case Opcode::kNegate:
      return sum && want_partial(0) ? std::optional(rule) : std::nullopt;
    case Opcode::kAdd:
    case Opcode::kSubtract:
      return sum && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kMaximum:
      return kind == ReduceKind::kMax && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kMinimum:
      return kind == ReduceKind::kMin && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kAnd:
      return kind == ReduceKind::kAnd && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kOr:
      return kind == ReduceKind::kOr && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kMultiply: {
      if (!sum || (partial(0) && partial(1))) return std::nullopt;
      return want_partial(partial(0) ? 0 : 1) ? std::optional(rule) : std::nullopt;
    }
    case Opcode::kDivide:
      if (!sum || partial(1) || !graph::IsFloat(result.dtype)) return std::nullopt;
      return want_partial(0) ? std::optional(rule) : std::nullopt;
    case Opcode::kSelect:
      if (!sum || partial(0)) return std::nullopt;
      return want_partial(1) && want_partial(2) ? std::optional(rule) : std::nullopt;
    case Opcode::kReduce: {
      if (op.operands.size() != 2 || partial(1)) return std::nullopt;
      const ReduceKind* reduce = graph::AsReduceKind(*op.regions[0]);
      if (reduce == nullptr || *reduce != kind) return std::nullopt;
      const Op& initial = graph.def(op.operands[1]);
      if (sum && (initial.opcode != Opcode::kConstant ||
                  !initial.as<graph::ConstantAttrs>().literal.AllEqual(0))) {
        return std::nullopt;
      }
      return kind != ReduceKind::kProduct && want_partial(0) ? std::optional(rule) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace alpa::planner
