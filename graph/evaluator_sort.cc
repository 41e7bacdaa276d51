// Sort with a comparator region: a bottom-up merge sort of positions. The sort is always stable. Even if the comparator
// is inconsistent, the result is a permutation of the input.
#include <algorithm>
#include <numeric>

#include "graph/evaluator_internal.h"

namespace alpa::graph::internal {
namespace {

// Sorts `order` by `less(a, b)`, which may return an error. `spare` is working memory of the same size as `order`.
template <typename Less>
absl::Status MergeSort(Index& order, Index& spare, Less&& less) {
  const size_t n = order.size();
  for (size_t width = 1; width < n; width *= 2) {
    for (size_t begin = 0; begin < n; begin += 2 * width) {
      const size_t middle = std::min(begin + width, n), end = std::min(begin + 2 * width, n);
      size_t left = begin, right = middle, to = begin;
      while (left < middle && right < end) {
        ALPA_ASSIGN_OR_RETURN(const bool swap, less(order[right], order[left]));
        spare[to++] = swap ? order[right++] : order[left++];
      }
      while (left < middle) spare[to++] = order[left++];
      while (right < end) spare[to++] = order[right++];
    }
    std::swap(order, spare);
  }
  return absl::OkStatus();
}

}  // namespace

Results EvaluateSort(const OpCall& call) {
  const int64_t dim = call.op.as<SortAttrs>().dimension;
  const Shape& shape = call.operands[0].shape();
  const size_t n = call.operands.size();
  std::vector<Array> out;
  for (size_t i = 0; i < n; ++i) out.emplace_back(call.result_shape(i));
  const int64_t length = shape.dims[dim];
  const int64_t stride = Strides(shape.dims)[dim];
  ScalarRegion comparator(*call.op.regions[0], call.context);
  std::vector<const std::byte*> arguments(2 * n);
  Index order(length), spare(length);
  for (int64_t row = 0, rows = length == 0 ? 0 : shape.elements() / length; row < rows; ++row) {
    // `row` is outer * stride + inner. `outer` is the position along the dimensions before the sorted dimension, and
    // `inner` the position along the dimensions after it.
    const int64_t base = row / stride * stride * length + row % stride;
    auto address = [&](size_t i, int64_t at) {
      return call.operands[i].bytes().data() + (base + at * stride) * SizeOf(call.operands[i].shape().dtype);
    };
    std::iota(order.begin(), order.end(), 0);
    ALPA_RETURN_IF_ERROR(MergeSort(order, spare, [&](int64_t a, int64_t b) -> absl::StatusOr<bool> {
      for (size_t i = 0; i < n; ++i) {
        arguments[2 * i] = address(i, a);
        arguments[2 * i + 1] = address(i, b);
      }
      std::byte result{0};
      std::byte* results[] = {&result};
      ALPA_RETURN_IF_ERROR(comparator.Call(arguments, results));
      return result != std::byte{0};
    }));
    for (size_t i = 0; i < n; ++i) {
      const int64_t element = SizeOf(call.operands[i].shape().dtype);
      for (int64_t at = 0; at < length; ++at) {
        std::memcpy(out[i].data() + (base + at * stride) * element, address(i, order[at]), element);
      }
    }
  }
  std::vector<Literal> results;
  for (Array& array : out) results.push_back(std::move(array).Seal());
  return results;
}

}  // namespace alpa::graph::internal
