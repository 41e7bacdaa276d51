// Element-wise reduction of two arrays of bytes: the arithmetic under every reducing collective.
//
// Integers wrap. Predicates add as or and multiply as and. A NaN on either side of max or min gives NaN, as in XLA.
// Threads: no state.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace alpa::comm {

// kInvalidArgument where the kind is not defined for the type (and, or of floats), or `bytes` holds no whole elements.
absl::Status CheckReduction(size_t bytes, graph::DType dtype, graph::ReduceKind kind);

// out[i] = a[i] (op) b[i]. kF16 and kBF16 are computed in f32 and rounded to nearest even: right for a sum of two terms;
// for more, widen first. REQUIRES: equal sizes that CheckReduction accepts, aligned to the element; `out` may be `a`, but
// not overlap otherwise.
void Reduce(std::span<std::byte> out, std::span<const std::byte> a, std::span<const std::byte> b, graph::DType dtype,
            graph::ReduceKind kind);

inline bool IsHalf(graph::DType dtype) { return dtype == graph::DType::kF16 || dtype == graph::DType::kBF16; }
// 16-bit floats as f32 and back (to nearest even). REQUIRES: IsHalf(dtype); `wide` is twice as long as `narrow`.
void Widen(std::span<const std::byte> narrow, std::span<std::byte> wide, graph::DType dtype);
void Narrow(std::span<const std::byte> wide, std::span<std::byte> narrow, graph::DType dtype);

}  // namespace alpa::comm
