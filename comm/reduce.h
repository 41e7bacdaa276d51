// Reduces two arrays element by element. Every reducing collective uses this arithmetic.
//
// Integers wrap. For predicates, a sum is "or" and a product is "and". If either operand of max or min is NaN, the
// result is NaN, as in XLA.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace alpa::comm {

// Returns kInvalidArgument if `kind` is not defined for `dtype` ("and" or "or" of floats), or if `bytes` is not a whole
// number of elements.
absl::Status CheckReduction(size_t bytes, graph::DType dtype, graph::ReduceKind kind);

// Computes out[i] = a[i] (op) b[i], with the operation of `kind`. kF16 and kBF16 are computed in f32 and rounded to
// nearest even. A chain of calls rounds after every term. To round a sum of more than two terms only once, widen the
// terms first.
// REQUIRES: all spans have the same size, CheckReduction accepts the arguments, and the addresses are aligned to the
// element. `out` may be `a`; otherwise it must not overlap an operand.
void Reduce(std::span<std::byte> out, std::span<const std::byte> a, std::span<const std::byte> b, graph::DType dtype,
            graph::ReduceKind kind);

inline bool IsHalf(graph::DType dtype) { return dtype == graph::DType::kF16 || dtype == graph::DType::kBF16; }
// Widen converts 16-bit floats to f32. Narrow converts f32 to 16-bit floats and rounds to nearest even.
// REQUIRES: IsHalf(dtype); `wide` is twice as long as `narrow`.
void Widen(std::span<const std::byte> narrow, std::span<std::byte> wide, graph::DType dtype);
void Narrow(std::span<const std::byte> wide, std::span<std::byte> narrow, graph::DType dtype);

}  // namespace alpa::comm
