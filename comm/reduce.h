// Element-wise reduction of two arrays of bytes: the arithmetic of every reducing collective.
//
// Integers wrap. For predicates, a sum is "or" and a product is "and". If either operand of max or min is NaN, the
// result is NaN, as in XLA.
// Threads: no state.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace alpa::comm {

// kInvalidArgument: the kind is not defined for the type ("and" or "or" of floats), or `bytes` is not a whole number of
// elements.
absl::Status CheckReduction(size_t bytes, graph::DType dtype, graph::ReduceKind kind);

// out[i] = a[i] (op) b[i]. kF16 and kBF16 are computed in f32 and rounded to nearest even. That is exact rounding for
// two terms only: to sum more terms, widen them first.
// REQUIRES: equal sizes that CheckReduction accepts, aligned to the element. `out` may be `a`; otherwise it must not
// overlap an operand.
void Reduce(std::span<std::byte> out, std::span<const std::byte> a, std::span<const std::byte> b, graph::DType dtype,
            graph::ReduceKind kind);

inline bool IsHalf(graph::DType dtype) { return dtype == graph::DType::kF16 || dtype == graph::DType::kBF16; }
// Convert 16-bit floats to f32, and f32 to 16-bit floats (to nearest even).
// REQUIRES: IsHalf(dtype); `wide` is twice as long as `narrow`.
void Widen(std::span<const std::byte> narrow, std::span<std::byte> wide, graph::DType dtype);
void Narrow(std::span<const std::byte> wide, std::span<std::byte> narrow, graph::DType dtype);

}  // namespace alpa::comm
