#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <numeric>

namespace alpa::kernels::cpu {
namespace {

using Dims = std::vector<int64_t>;

bool Contains(const Dims& list, int64_t x) { return std::find(list.begin(), list.end(), x) != list.end(); }

Dims FreeDims(size_t rank, const Dims& a, const Dims& b) {
  Dims rest;
  for (int64_t d = 0; d < static_cast<int64_t>(rank); ++d) {
    if (!Contains(a, d) && !Contains(b, d)) rest.push_back(d);
  }
  return rest;
}

int64_t SizeOf(const Dims& dims, const Dims& list) {
  int64_t size = 1;
  for (int64_t d : list) size *= dims[d];
  return size;
}

// Returns the stride with which a single loop visits the dimensions of `list` in order. Returns -1 if a single loop
// cannot do this with one stride. Returns 0 if there is only one position.
int64_t StrideOf(const Dims& dims, const Dims& strides, const Dims& list) {
  int64_t stride = 0;
  for (size_t i = list.size(); i-- > 0;) {
    const int64_t d = list[i];
    if (dims[d] == 1) continue;
    if (stride == 0) {
      stride = strides[d];
    } else {
      int64_t inner = 1;
      for (size_t j = i + 1; j < list.size(); ++j) inner *= dims[list[j]];
      if (strides[d] != stride * inner) return -1;
    }
  }
  return stride;
}

Dims BatchOffsets(const Dims& dims, const Dims& strides, const Dims& batch) {
  Dims offsets{0};
  for (int64_t d : batch) {
    Dims next;
    next.reserve(offsets.size() * dims[d]);
    for (int64_t offset : offsets) {
      for (int64_t i = 0; i < dims[d]; ++i) next.push_back(offset + i * strides[d]);
    }
    offsets = std::move(next);
  }
  return offsets;
}

// `rows` and `columns` are the dimensions of the matrix as the product reads it, before any transposition.
GemmOperand OperandOf(const Dims& dims, const Dims& batch, const Dims& rows, const Dims& columns) {
  GemmOperand operand;
  const Dims strides = graph::Strides(dims);
  const int64_t row_count = SizeOf(dims, rows), column_count = SizeOf(dims, columns);
  const int64_t row = StrideOf(dims, strides, rows), column = StrideOf(dims, strides, columns);
  operand.batch_offsets = BatchOffsets(dims, strides, batch);
  if (row >= 0 && column >= 0 && (column <= 1) && (row == 0 || row >= column_count)) {
    operand.leading = std::max<int64_t>({row, column_count, 1});
    return operand;
  }
  if (row >= 0 && column >= 0 && (row <= 1) && (column == 0 || column >= row_count)) {
    operand.transposed = true;
    operand.leading = std::max<int64_t>({column, row_count, 1});
    return operand;
  }
  // The operand needs a dense copy in the order batch, rows, columns.
  Dims order = batch;
  order.insert(order.end(), rows.begin(), rows.end());
  order.insert(order.end(), columns.begin(), columns.end());
  operand.packing = std::move(order);
  operand.leading = std::max<int64_t>(column_count, 1);
  for (size_t i = 0; i < operand.batch_offsets.size(); ++i) {
    operand.batch_offsets[i] = static_cast<int64_t>(i) * row_count * column_count;
  }
  return operand;
}

}  // namespace

Gemm GemmOf(const Dims& lhs, const Dims& rhs, const graph::DotAttrs& attrs) {
  const Dims lhs_free = FreeDims(lhs.size(), attrs.lhs_batch, attrs.lhs_contracting);
  const Dims rhs_free = FreeDims(rhs.size(), attrs.rhs_batch, attrs.rhs_contracting);
  Gemm best;
  int best_copies = 3;
  // The product may walk the contracted dimensions in any order, but in the same order in both operands. Tries the
  // order of the dimensions in each operand.
  Dims order(attrs.lhs_contracting.size());
  std::iota(order.begin(), order.end(), 0);
  Dims by_lhs = order, by_rhs = order;
  std::sort(by_lhs.begin(), by_lhs.end(),
            [&](int64_t a, int64_t b) { return attrs.lhs_contracting[a] < attrs.lhs_contracting[b]; });
  std::sort(by_rhs.begin(), by_rhs.end(),
            [&](int64_t a, int64_t b) { return attrs.rhs_contracting[a] < attrs.rhs_contracting[b]; });
  for (const Dims& tried : {by_lhs, by_rhs}) {
    Dims lhs_contracting, rhs_contracting;
    for (int64_t i : tried) {
      lhs_contracting.push_back(attrs.lhs_contracting[i]);
      rhs_contracting.push_back(attrs.rhs_contracting[i]);
    }
    Gemm gemm;
    gemm.m = SizeOf(lhs, lhs_free);
    gemm.n = SizeOf(rhs, rhs_free);
    gemm.k = SizeOf(lhs, lhs_contracting);
    gemm.lhs = OperandOf(lhs, attrs.lhs_batch, lhs_free, lhs_contracting);
    gemm.rhs = OperandOf(rhs, attrs.rhs_batch, rhs_contracting, rhs_free);
    const int copies = !gemm.lhs.packing.empty() + !gemm.rhs.packing.empty();
    if (copies < best_copies) best = std::move(gemm), best_copies = copies;
  }
  return best;
}

}  // namespace alpa::kernels::cpu
