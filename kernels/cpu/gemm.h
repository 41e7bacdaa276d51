// Describes a dot as a batch of row-major matrix products C[m, n] = A[m, k] B[k, n].
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace alpa::kernels::cpu {

// The layout of one operand. Element (row, column) of matrix b is at batch_offsets[b] + row * leading + column. If
// `transposed`, row and column are exchanged in this formula.
struct GemmOperand {
  bool transposed = false;
  int64_t leading = 1;
  std::vector<int64_t> batch_offsets;
  // If not empty: the operand must first be copied with its dimensions in this order. The other fields describe the
  // copy.
  std::vector<int64_t> packing;
};

struct Gemm {
  int64_t m = 1, n = 1, k = 1;
  GemmOperand lhs, rhs;
};

// Returns the product that computes the dot. The result's matrices are dense and follow one another. An operand needs a
// copy only in these cases: its free dimensions have no common stride, its contracted dimensions have no common stride,
// or neither of these two strides is 1.
Gemm GemmOf(const std::vector<int64_t>& lhs, const std::vector<int64_t>& rhs, const graph::DotAttrs& attrs);

}  // namespace alpa::kernels::cpu
