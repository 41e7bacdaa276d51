// The inner loops of fused kernels: each applies one operation to a tile of elements held in registers.
//
// Model:    a register is a small buffer of 32- or 64-bit lanes. Element types narrower than that live widened: f16 and
//           bf16 as f32 rounded after every operation, small integers sign- or zero-extended and wrapped after every
//           operation, pred as 0 or 1 in 32 bits. Loops are compiled twice, for any x86-64 and for AVX2 with FMA, and
//           chosen by what the processor has.
// Errors of functions (against the true value, f32): exp, log, rsqrt, tanh, erf, sin, cos, log1p, expm1, pow at most
//           2 ulp, logistic 2.5; f64 is the C library's. NaN and infinities give what IEEE says.
// Threads:  no state.
#pragma once

#include <cstdint>

#include "graph/graph.h"

namespace alpa::kernels::cpu {

// Lanes of a register.
enum class Lane : uint8_t { kF32, kF64, kI32, kU32, kI64, kU64 };
Lane LaneOf(graph::DType dtype);
inline int LaneSize(Lane lane) { return lane == Lane::kF64 || lane == Lane::kI64 || lane == Lane::kU64 ? 8 : 4; }

// d[i] = op(a[i], b[i], c[i]) for i < n. d may be a, b or c.
using Prim = void (*)(int64_t n, void* d, const void* a, const void* b, const void* c);

// The loop for an elementwise op on operands of `lane` (select: of its branches), or null where there is none. Small
// types need WrapPrim after it.
Prim OpPrim(const graph::Op& op, graph::DType operand);
// From one type's register to another's, with the values that a convert gives; null: the register is the same.
Prim ConvertPrim(graph::DType from, graph::DType to);
// Brings the result of an operation back into the range (or precision) of a narrow type; null where nothing is to do.
Prim WrapPrim(graph::DType dtype);
// Memory to register and back; null where they are the same bytes.
Prim LoadPrim(graph::DType dtype);
Prim StorePrim(graph::DType dtype);

// One value from n elements, and acc[i] = acc[i] op a[i]. Accumulators are double for floats' sums and products, and
// the lane's own type otherwise.
using FoldPrim = void (*)(int64_t n, void* accumulator, const void* a);
FoldPrim RowFold(graph::ReduceKind kind, Lane lane);
FoldPrim ColumnFold(graph::ReduceKind kind, Lane lane);

// For tests: the same loops as compiled for any x86-64, whatever the processor has.
void UseBaselinePrims(bool on);

}  // namespace alpa::kernels::cpu
