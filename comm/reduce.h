// Element-wise reduction of two arrays of bytes, and the widening of 16-bit floats around it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace alpa::comm {

// into[i] = into[i] (op) from[i]. REQUIRES: equal sizes, whole elements; not kBF16 or kF16.
void ReduceInto(std::span<std::byte> into, std::span<const std::byte> from, graph::DType dtype, graph::ReduceKind kind);

// 16-bit floats as f32 and back (rounded to nearest even). REQUIRES: dtype is kBF16 or kF16.
std::vector<std::byte> Widen(std::span<const std::byte> data, graph::DType dtype);
void Narrow(std::span<const std::byte> wide, std::span<std::byte> out, graph::DType dtype);

}  // namespace alpa::comm
