#include <cmath>
#include <limits>

#include "planner/strategy/split_rules.h"

namespace alpa::planner {

using graph::DType;
using graph::Op;
using graph::Opcode;
using graph::ReduceKind;
using graph::Shape;

namespace {

// Constants with more elements are not examined, because reading them would take longer than the op that they could
// move.
constexpr int64_t kMaxFactorElements = 1 << 16;

// Returns whether partial sums of this type are held and added in a type with a larger range (Widened). The reduced
// value overflows where the partial sums do not. Therefore, only ops that move elements or change signs may come before
// the reduction. Any other op would see infinity in the original program, but a finite number in the partial sums.
bool OverflowsBeforeItsPartials(DType dtype) { return dtype == DType::kF16; }

// Returns whether every element of `value` is a constant whose magnitude is finite and in [lowest, highest].
bool IsConstantWithin(const graph::Graph& graph, graph::ValueId value, double lowest, double highest) {
  const Op* op = &graph.def(value);
  while (op->opcode == Opcode::kBroadcast || op->opcode == Opcode::kReshape || op->opcode == Opcode::kTranspose ||
         op->opcode == Opcode::kCopy) {
    op = &graph.def(op->operands[0]);
  }
  if (op->opcode != Opcode::kConstant) return false;
  const graph::Literal& literal = op->as<graph::ConstantAttrs>().literal;
  if (literal.shape().elements() > kMaxFactorElements) return false;
  for (int64_t i = 0; i < literal.shape().elements(); ++i) {
    const double magnitude = std::abs(literal.ValueAt(i));
    if (!std::isfinite(magnitude) || magnitude < lowest || magnitude > highest) return false;
  }
  return true;
}

// Returns whether converting each partial sum and adding the results gives the converted sum.
bool ConvertCommutesWithSum(DType from, DType to) {
  // Integers wrap. Truncation to the same number of bits or to fewer bits keeps sums modulo a power of two. Every other
  // conversion distinguishes a sum from the sum minus 2^bits.
  if (graph::IsInteger(from)) return graph::IsInteger(to) && graph::SizeOf(to) <= graph::SizeOf(from);
  if (!graph::IsFloat(from) || !graph::IsFloat(to)) return false;
  // A partial sum of a 16-bit type is held in f32, so narrowing f32 to it changes nothing before the reduction. Between
  // f32 and f64 the range changes, so infinities would arise in other places.
  return !OverflowsBeforeItsPartials(from) && Widened(from) == Widened(to);
}

}  // namespace

DType Widened(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF16 ? DType::kF32 : dtype; }

// Covers ops that commute with the reduction over chunks for all values of the operands, including infinities, NaN, and
// integers that wrap. Results may differ by rounding, and by an overflow of an f32 or f64 sum that depends on the order
// of its terms. The list intentionally contains only cheap ops that do not make the value larger. Any other op runs
// faster once, on the reduced value.
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
  // Returns whether arithmetic on partial sums of this type gives partial sums.
  const bool linear = sum && !OverflowsBeforeItsPartials(result.dtype);
  const bool is_float = graph::IsFloat(result.dtype);
  OpRule rule{std::vector<AxisState>(op.operands.size()), {AxisState::Partial(kind)}};
  // Requires operand i to be partial. Returns false unless the operand is a partial of this kind, or a zero in a sum.
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
      const bool commutes = sum && ConvertCommutesWithSum(shape(0).dtype, result.dtype);
      return commutes && want_partial(0) ? std::optional(rule) : std::nullopt;
    }
    case Opcode::kNegate:
      return sum && want_partial(0) ? std::optional(rule) : std::nullopt;
    case Opcode::kAdd:
    case Opcode::kSubtract:
      return linear && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kMaximum:
      return kind == ReduceKind::kMax && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kMinimum:
      return kind == ReduceKind::kMin && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kAnd:
      return kind == ReduceKind::kAnd && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kOr:
      return kind == ReduceKind::kOr && want_partial(0) && want_partial(1) ? std::optional(rule) : std::nullopt;
    case Opcode::kMultiply: {
      if (!linear || (partial(0) && partial(1))) return std::nullopt;
      const size_t factor = partial(0) ? 1 : 0;
      // Integers wrap, so any factor commutes. With floats, terms of opposite sign times infinity give NaN, and a
      // factor above 1 can make a term overflow that the sum would cancel.
      if (is_float && !IsConstantWithin(graph, op.operands[factor], std::numeric_limits<double>::min(), 1)) {
        return std::nullopt;
      }
      return want_partial(1 - factor) ? std::optional(rule) : std::nullopt;
    }
    case Opcode::kDivide:
      // Treat the division as a multiplication by the inverse.
      if (!linear || partial(1) || !is_float) return std::nullopt;
      if (!IsConstantWithin(graph, op.operands[1], 1, std::numeric_limits<double>::max())) return std::nullopt;
      return want_partial(0) ? std::optional(rule) : std::nullopt;
    case Opcode::kSelect:
      if (!sum || partial(0)) return std::nullopt;
      return want_partial(1) && want_partial(2) ? std::optional(rule) : std::nullopt;
    case Opcode::kReduce: {
      if (op.operands.size() != 2 || partial(1)) return std::nullopt;
      const ReduceKind* reduce = graph::AsReduceKind(*op.regions[0]);
      if (reduce == nullptr || *reduce != kind) return std::nullopt;
      const Op& initial = graph.def(op.operands[1]);
      if (sum && !linear) return std::nullopt;
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
