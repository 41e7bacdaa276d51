// A dot as a batch of row-major matrix products C[m, n] = A[m, k] B[k, n].
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace alpa::kernels::cpu {

// How to read one operand. Element (row, column) of matrix b is at batch_offsets[b] + row * leading + column. If
// `transposed`, row and column are exchanged.
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

// Returns the product that computes the dot. The result's matrices are dense, one after the other. An operand must be
// copied only if its free or its contracted dimensions cannot be walked with one stride each, or if neither stride is
// 1.
Gemm GemmOf(const std::vector<int64_t>& lhs, const std::vector<int64_t>& rhs, const graph::DotAttrs& attrs);

}  // namespace alpa::kernels::cpu
