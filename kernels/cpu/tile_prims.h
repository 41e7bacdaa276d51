// The inner loops of fused kernels. Each loop applies one operation to a tile of elements in registers.
//
// Model:    a register is a small buffer of 32- or 64-bit lanes. Narrower element types are widened: f16 and bf16
//           become f32 and are rounded after every operation. Small integers are sign- or zero-extended and wrapped
//           after every operation. pred is 0 or 1 in 32 bits. Loops are compiled twice, for any x86-64 and for AVX2
//           with FMA. The processor's features decide which version runs.
// Accuracy: in f32, the error of exp, log, rsqrt, tanh, erf, sin, cos, log1p, expm1 and pow is at most 2 ulp. The error
//           of logistic is at most 2.5 ulp. f64 has the accuracy of the C library. NaN and infinities give the results
//           of IEEE 754.
// Threads:  thread-safe.
#pragma once

#include <cstdint>

#include "graph/graph.h"

namespace alpa::kernels::cpu {

// The type of a register's lanes.
enum class Lane : uint8_t { kF32, kF64, kI32, kU32, kI64, kU64 };
Lane LaneOf(graph::DType dtype);
inline int LaneSize(Lane lane) { return lane == Lane::kF64 || lane == Lane::kI64 || lane == Lane::kU64 ? 8 : 4; }

// Computes d[i] = op(a[i], b[i], c[i]) for i < n. d may be a, b or c.
using Prim = void (*)(int64_t n, void* d, const void* a, const void* b, const void* c);

// Returns the loop for an elementwise op on operands of type `operand` (for a select, the type of its branches), or
// null if there is no loop. For narrow types, the caller must run WrapPrim's loop after this loop.
Prim OpPrim(const graph::Op& op, graph::DType operand);
// Returns the loop that converts a register of type `from` to one of type `to`, as the convert op does. Null: no
// conversion is necessary, because the registers of both types hold the same bits.
Prim ConvertPrim(graph::DType from, graph::DType to);
// Returns the loop that brings an operation's result back into the range or precision of a narrow type. Null: no loop
// is necessary.
Prim WrapPrim(graph::DType dtype);
// Return the loops that load from memory to a register, and store a register to memory. Null: memory and register hold
// the same bytes.
Prim LoadPrim(graph::DType dtype);
Prim StorePrim(graph::DType dtype);

// RowFold combines n elements into one value; ColumnFold computes acc[i] = acc[i] op a[i]. For sums and products of
// floats, accumulators are double. Otherwise accumulators have the lane's type. RowFold first combines the n elements
// in the lane's type, and then combines the result with the accumulator.
using FoldPrim = void (*)(int64_t n, void* accumulator, const void* a);
FoldPrim RowFold(graph::ReduceKind kind, Lane lane);
FoldPrim ColumnFold(graph::ReduceKind kind, Lane lane);

// For tests. If `on`, the functions above return the loops compiled for any x86-64, even if the processor supports
// AVX2.
void UseBaselinePrims(bool on);

}  // namespace alpa::kernels::cpu
