#include "graph/scalar_fold.h"

#include <algorithm>

namespace alpa::graph {
namespace {

// Returns `bits`, cut to the width of the type, as a scalar.
Literal Pack(DType dtype, uint64_t bits) {
  switch (dtype) {
    case DType::kPred:
      return Literal::Scalar<uint8_t>(dtype, bits & 1u);
    case DType::kS8:
    case DType::kU8:
      return Literal::Scalar(dtype, static_cast<uint8_t>(bits));
    case DType::kS16:
    case DType::kU16:
      return Literal::Scalar(dtype, static_cast<uint16_t>(bits));
    case DType::kS32:
    case DType::kU32:
      return Literal::Scalar(dtype, static_cast<uint32_t>(bits));
    default:
      return Literal::Scalar(dtype, bits);
  }
}

bool Less(DType dtype, int64_t a, int64_t b) {
  return IsSigned(dtype) ? a < b : static_cast<uint64_t>(a) < static_cast<uint64_t>(b);
}

bool Compare(CompareDirection direction, DType dtype, int64_t a, int64_t b) {
  switch (direction) {
    case CompareDirection::kEq:
      return a == b;
    case CompareDirection::kNe:
      return a != b;
    case CompareDirection::kLt:
      return Less(dtype, a, b);
    case CompareDirection::kLe:
      return !Less(dtype, b, a);
    case CompareDirection::kGt:
      return Less(dtype, b, a);
    case CompareDirection::kGe:
      return !Less(dtype, a, b);
  }
  return false;
}

std::optional<uint64_t> Binary(Opcode opcode, DType dtype, int64_t a, int64_t b) {
  const uint64_t ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  const bool number = dtype != DType::kPred;
  switch (opcode) {
    case Opcode::kAnd:
      return ua & ub;
    case Opcode::kOr:
      return ua | ub;
    case Opcode::kXor:
      return ua ^ ub;
    case Opcode::kMaximum:
      return Less(dtype, a, b) ? ub : ua;
    case Opcode::kMinimum:
      return Less(dtype, b, a) ? ub : ua;
    case Opcode::kAdd:
      return number ? std::optional(ua + ub) : std::nullopt;
    case Opcode::kSubtract:
      return number ? std::optional(ua - ub) : std::nullopt;
    case Opcode::kMultiply:
      return number ? std::optional(ua * ub) : std::nullopt;
    case Opcode::kDivide:
    case Opcode::kRemainder: {
      if (!number || b == 0 || b == -1) return std::nullopt;
      if (IsSigned(dtype)) return static_cast<uint64_t>(opcode == Opcode::kDivide ? a / b : a % b);
      return opcode == Opcode::kDivide ? ua / ub : ua % ub;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<int64_t> ScalarValue(const Literal& literal) {
  if (literal.shape().rank() != 0) return std::nullopt;
  switch (literal.shape().dtype) {
    case DType::kPred:
      return literal.as<uint8_t>()[0] != 0;
    case DType::kS8:
      return literal.as<int8_t>()[0];
    case DType::kS16:
      return literal.as<int16_t>()[0];
    case DType::kS32:
      return literal.as<int32_t>()[0];
    case DType::kS64:
      return literal.as<int64_t>()[0];
    case DType::kU8:
      return literal.as<uint8_t>()[0];
    case DType::kU16:
      return literal.as<uint16_t>()[0];
    case DType::kU32:
      return literal.as<uint32_t>()[0];
    case DType::kU64:
      return static_cast<int64_t>(literal.as<uint64_t>()[0]);
    default:
      return std::nullopt;
  }
}

std::optional<Literal> FoldScalar(Opcode opcode, const Attributes& attrs,
                                  std::span<const Literal* const> operands, const Shape& result) {
  if (result.rank() != 0 || operands.empty() || operands.size() > 3 || IsFloat(result.dtype))
    return std::nullopt;
  int64_t values[3] = {0, 0, 0};
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i] == nullptr) return std::nullopt;
    const std::optional<int64_t> value = ScalarValue(*operands[i]);
    if (!value) return std::nullopt;
    values[i] = *value;
  }
  const DType dtype = operands[0]->shape().dtype;
  const bool number = dtype != DType::kPred;
  if (operands.size() == 1) {
    const uint64_t bits = static_cast<uint64_t>(values[0]);
    switch (opcode) {
      case Opcode::kCopy:
      case Opcode::kReshape:
        return dtype == result.dtype ? std::optional(Pack(dtype, bits)) : std::nullopt;
      case Opcode::kConvert:
        return Pack(result.dtype, result.dtype == DType::kPred ? static_cast<uint64_t>(bits != 0) : bits);
      case Opcode::kNot:
        return Pack(dtype, ~bits);
      case Opcode::kNegate:
        return number ? std::optional(Pack(dtype, 0 - bits)) : std::nullopt;
      default:
        return std::nullopt;
    }
  }
  if (operands.size() == 2) {
    if (operands[1]->shape().dtype != dtype) return std::nullopt;
    if (opcode == Opcode::kCompare) {
      const auto* compare = std::get_if<CompareAttrs>(&attrs);
      if (compare == nullptr || result.dtype != DType::kPred) return std::nullopt;
      return Pack(DType::kPred, Compare(compare->direction, dtype, values[0], values[1]));
    }
    const std::optional<uint64_t> bits = Binary(opcode, dtype, values[0], values[1]);
    return bits && result.dtype == dtype ? std::optional(Pack(dtype, *bits)) : std::nullopt;
  }
  if (operands[1]->shape().dtype != result.dtype) return std::nullopt;
  if (opcode == Opcode::kSelect) {
    const size_t chosen = values[0] != 0 ? 1 : 2;
    return Pack(result.dtype, static_cast<uint64_t>(values[chosen]));
  }
  if (opcode == Opcode::kClamp && result.dtype != DType::kPred) {
    const int64_t low = Less(result.dtype, values[1], values[0]) ? values[0] : values[1];
    return Pack(result.dtype, static_cast<uint64_t>(Less(result.dtype, values[2], low) ? values[2] : low));
  }
  return std::nullopt;
}

}  // namespace alpa::graph
