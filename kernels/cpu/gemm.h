// A dot as a batch of row-major matrix products C[m, n] = A[m, k] B[k, n].
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace alpa::kernels::cpu {

// How one operand is read: element (row, column) of matrix b lies at batch_offsets[b] + row * leading + column, or with
// row and column exchanged where it is transposed.
struct GemmOperand {
  bool transposed = false;
  int64_t leading = 1;
  std::vector<int64_t> batch_offsets;
  // Not empty: the operand must be copied first, with its dimensions in this order; the rest speaks of the copy.
  std::vector<int64_t> packing;
};

struct Gemm {
  int64_t m = 1, n = 1, k = 1;
  GemmOperand lhs, rhs;
};

// The product that gives the dot's result, whose matrices lie dense one after the other. Copies are asked for only
// where the free or the contracted dimensions of an operand cannot be walked with one stride each, one of them 1.
Gemm GemmOf(const std::vector<int64_t>& lhs, const std::vector<int64_t>& rhs, const graph::DotAttrs& attrs);

}  // namespace alpa::kernels::cpu
