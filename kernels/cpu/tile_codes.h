// The interface between tile_prims.cc and the loops compiled for one instruction set. Include no other headers here:
// the linker could use an inline function from the AVX2 source in code that must run without AVX2.
#pragma once

#include <cstdint>

namespace alpa::kernels::cpu {

enum class PrimCode : uint8_t {
  kAbs,
  kNegate,
  kSign,
  kNot,
  kNotPred,
  kPopulationCount,
  kCountLeadingZeros,
  kSqrt,
  kRsqrt,
  kExp,
  kExpm1,
  kLog,
  kLog1p,
  kLogistic,
  kTanh,
  kErf,
  kSine,
  kCosine,
  kTan,
  kCbrt,
  kFloor,
  kCeil,
  kRoundAfz,
  kRoundEven,
  kIsFinite,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kRemainder,
  kMaximum,
  kMinimum,
  kPower,
  kAtan2,
  kAnd,
  kOr,
  kXor,
  kShiftLeft,
  kShiftRightArithmetic,
  kShiftRightLogical,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kSelect,
  kClamp,
};
// Element types, with the numbers of graph::DType.
enum class Element : uint8_t {
  kPred = 1,
  kS8 = 2,
  kS16 = 3,
  kS32 = 4,
  kS64 = 5,
  kU8 = 6,
  kU16 = 7,
  kU32 = 8,
  kU64 = 9,
  kF16 = 10,
  kF32 = 11,
  kF64 = 12,
  kBF16 = 16,
};
enum class LaneCode : uint8_t { kF32, kF64, kI32, kU32, kI64, kU64 };
enum class FoldCode : uint8_t { kSum, kMax, kMin, kAnd, kOr, kProduct };

using PrimFunction = void (*)(int64_t n, void* d, const void* a, const void* b, const void* c);
using FoldFunction = void (*)(int64_t n, void* accumulator, const void* a);

#define ALPA_DECLARE_TILE_ISA(isa)                   \
  namespace isa {                                    \
  PrimFunction Op(PrimCode code, LaneCode lane);     \
  PrimFunction Convert(LaneCode from, Element to);   \
  PrimFunction Wrap(Element type);                   \
  PrimFunction Load(Element type);                   \
  PrimFunction Store(Element type);                  \
  FoldFunction Row(FoldCode code, LaneCode lane);    \
  FoldFunction Column(FoldCode code, LaneCode lane); \
  }
ALPA_DECLARE_TILE_ISA(baseline)
ALPA_DECLARE_TILE_ISA(avx2)

}  // namespace alpa::kernels::cpu
