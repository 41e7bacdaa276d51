#include "kernels/cpu/tile_prims.h"

#include <atomic>

#include "kernels/cpu/tile_codes.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DType;
using graph::Opcode;

std::atomic<bool> only_baseline{false};

bool UseAvx2() {
#if defined(__x86_64__)
  static const bool has =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  return has && !only_baseline.load(std::memory_order_relaxed);
#else
  return false;
#endif
}

Element ElementOf(DType dtype) { return static_cast<Element>(dtype); }
LaneCode CodeOf(Lane lane) { return static_cast<LaneCode>(lane); }

bool CodeFor(const graph::Op& op, DType type, PrimCode& code) {
  const bool small = graph::SizeOf(type) < 4 && !graph::IsFloat(type);
  const bool pred = type == DType::kPred;
  switch (op.opcode) {
#define ALPA_ROW(Name)        \
  case Opcode::k##Name:       \
    code = PrimCode::k##Name; \
    return !pred;
    ALPA_ROW(Abs)
    ALPA_ROW(Negate) ALPA_ROW(Sign) ALPA_ROW(Subtract) ALPA_ROW(Divide) ALPA_ROW(Remainder) ALPA_ROW(Clamp)
        ALPA_ROW(Sqrt) ALPA_ROW(Rsqrt) ALPA_ROW(Exp) ALPA_ROW(Expm1) ALPA_ROW(Log) ALPA_ROW(Log1p) ALPA_ROW(Logistic)
            ALPA_ROW(Tanh) ALPA_ROW(Erf) ALPA_ROW(Sine) ALPA_ROW(Cosine) ALPA_ROW(Tan) ALPA_ROW(Cbrt) ALPA_ROW(Floor)
                ALPA_ROW(Ceil) ALPA_ROW(IsFinite) ALPA_ROW(Atan2) ALPA_ROW(Power)
#undef ALPA_ROW
                    case Opcode::kRoundNearestAfz : code = PrimCode::kRoundAfz;
    return true;
    case Opcode::kRoundNearestEven:
      code = PrimCode::kRoundEven;
      return true;
    case Opcode::kNot:
      code = pred ? PrimCode::kNotPred : PrimCode::kNot;
      return true;
    // For booleans, a sum is "or" and a product is "and".
    case Opcode::kAdd:
      code = pred ? PrimCode::kOr : PrimCode::kAdd;
      return true;
    case Opcode::kMultiply:
      code = pred ? PrimCode::kAnd : PrimCode::kMultiply;
      return true;
    case Opcode::kMaximum:
      code = PrimCode::kMaximum;
      return true;
    case Opcode::kMinimum:
      code = PrimCode::kMinimum;
      return true;
    case Opcode::kAnd:
      code = PrimCode::kAnd;
      return true;
    case Opcode::kOr:
      code = PrimCode::kOr;
      return true;
    case Opcode::kXor:
      code = PrimCode::kXor;
      return true;
    case Opcode::kSelect:
      code = PrimCode::kSelect;
      return true;
    // The results of these ops depend on the type's width, so small types have no loop.
    case Opcode::kShiftLeft:
      code = PrimCode::kShiftLeft;
      return !small;
    case Opcode::kShiftRightArithmetic:
      code = PrimCode::kShiftRightArithmetic;
      return !small;
    case Opcode::kShiftRightLogical:
      code = PrimCode::kShiftRightLogical;
      return !small;
    case Opcode::kPopulationCount:
      code = PrimCode::kPopulationCount;
      return !small;
    case Opcode::kCountLeadingZeros:
      code = PrimCode::kCountLeadingZeros;
      return !small;
    case Opcode::kCompare: {
      const auto& attrs = op.as<graph::CompareAttrs>();
      if (attrs.total_order && graph::IsFloat(type)) return false;
      static constexpr PrimCode kCodes[] = {PrimCode::kEq, PrimCode::kNe, PrimCode::kLt,
                                            PrimCode::kLe, PrimCode::kGt, PrimCode::kGe};
      code = kCodes[static_cast<int>(attrs.direction)];
      return true;
    }
    default:
      return false;
  }
}

}  // namespace

Lane LaneOf(DType dtype) {
  switch (dtype) {
    case DType::kF16:
    case DType::kBF16:
    case DType::kF32:
      return Lane::kF32;
    case DType::kF64:
      return Lane::kF64;
    case DType::kU8:
    case DType::kU16:
    case DType::kU32:
      return Lane::kU32;
    case DType::kS64:
      return Lane::kI64;
    case DType::kU64:
      return Lane::kU64;
    default:
      return Lane::kI32;
  }
}

Prim OpPrim(const graph::Op& op, DType operand) {
  PrimCode code;
  if (!CodeFor(op, operand, code)) return nullptr;
  const LaneCode lane = CodeOf(LaneOf(operand));
  return UseAvx2() ? avx2::Op(code, lane) : baseline::Op(code, lane);
}

Prim ConvertPrim(DType from, DType to) {
  if (from == to || (to == DType::kF32 && LaneOf(from) == Lane::kF32)) return nullptr;
  const LaneCode lane = CodeOf(LaneOf(from));
  return UseAvx2() ? avx2::Convert(lane, ElementOf(to)) : baseline::Convert(lane, ElementOf(to));
}

Prim WrapPrim(DType dtype) { return UseAvx2() ? avx2::Wrap(ElementOf(dtype)) : baseline::Wrap(ElementOf(dtype)); }
Prim LoadPrim(DType dtype) { return UseAvx2() ? avx2::Load(ElementOf(dtype)) : baseline::Load(ElementOf(dtype)); }
Prim StorePrim(DType dtype) { return UseAvx2() ? avx2::Store(ElementOf(dtype)) : baseline::Store(ElementOf(dtype)); }

FoldPrim RowFold(graph::ReduceKind kind, Lane lane) {
  const auto code = static_cast<FoldCode>(kind);
  return UseAvx2() ? avx2::Row(code, CodeOf(lane)) : baseline::Row(code, CodeOf(lane));
}
FoldPrim ColumnFold(graph::ReduceKind kind, Lane lane) {
  const auto code = static_cast<FoldCode>(kind);
  return UseAvx2() ? avx2::Column(code, CodeOf(lane)) : baseline::Column(code, CodeOf(lane));
}

void UseBaselinePrims(bool on) { only_baseline = on; }

}  // namespace alpa::kernels::cpu
