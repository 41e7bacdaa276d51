// Gather and scatter. Each index vector selects one window of the array that a gather reads or a scatter updates.
#include <algorithm>

#include "graph/evaluator_internal.h"

namespace alpa::graph::internal {
namespace {

bool Contains(const Index& list, int64_t x) { return std::find(list.begin(), list.end(), x) != list.end(); }

// Reads the index vectors from the indices operand of a gather or scatter.
class IndexVectors {
 public:
  // Component k of an index vector is the start of the window along dimension `index_map[k]` of the array. Along
  // dimension `batching[j]` of the array, the start is the position of the index vector along dimension
  // `indices_batching[j]` of the indices.
  IndexVectors(const Literal& indices, int64_t vector_dim, const Index& index_map, const Index& batching,
               const Index& indices_batching)
      : indices_(indices), index_map_(index_map), batching_(batching), indices_batching_(indices_batching) {
    const Index& dims = indices.shape().dims;
    strides_ = Strides(dims);
    vector_stride_ = vector_dim < static_cast<int64_t>(dims.size()) ? strides_[vector_dim] : 0;
    for (int64_t d = 0; d < static_cast<int64_t>(dims.size()); ++d) {
      if (d != vector_dim) batch_dims_.push_back(d);
    }
  }

  // Sets `start` to the start of the window for batch position `batch`.
  void Start(const Index& batch, Index& start) const {
    int64_t offset = 0;
    for (size_t i = 0; i < batch_dims_.size(); ++i) offset += batch[i] * strides_[batch_dims_[i]];
    std::fill(start.begin(), start.end(), 0);
    for (size_t k = 0; k < index_map_.size(); ++k) {
      start[index_map_[k]] = IntegerAt(indices_, offset + static_cast<int64_t>(k) * vector_stride_);
    }
    for (size_t j = 0; j < batching_.size(); ++j) {
      const auto at = std::find(batch_dims_.begin(), batch_dims_.end(), indices_batching_[j]) - batch_dims_.begin();
      start[batching_[j]] = batch[at];
    }
  }

 private:
  const Literal& indices_;
  const Index& index_map_;
  const Index& batching_;
  const Index& indices_batching_;
  Index strides_, batch_dims_;
  int64_t vector_stride_ = 0;
};

Index DimsBut(int64_t rank, const Index& left_out, const Index& also = {}) {
  Index rest;
  for (int64_t d = 0; d < rank; ++d) {
    if (!Contains(left_out, d) && !Contains(also, d)) rest.push_back(d);
  }
  return rest;
}

Index Pick(const Index& values, const Index& at) {
  Index picked;
  for (int64_t d : at) picked.push_back(values[d]);
  return picked;
}

int64_t Dot(const Index& a, const Index& b) {
  int64_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

bool HasZero(const Index& dims) { return Contains(dims, 0); }

}  // namespace

Results EvaluateGather(const OpCall& call) {
  const auto& attrs = call.op.as<GatherAttrs>();
  const Shape& in = call.operands[0].shape();
  const Shape& shape = call.result_shape();
  Array out(shape);
  if (shape.elements() == 0) return One(std::move(out));
  const Index in_strides = Strides(in.dims), out_strides = Strides(shape.dims);
  const Index batch_dims = DimsBut(shape.rank(), attrs.offset_dims);
  const Index window_dims = DimsBut(in.rank(), attrs.collapsed_slice_dims, attrs.operand_batching_dims);
  const Index window = Pick(attrs.slice_sizes, window_dims);
  const Index batch_sizes = Pick(shape.dims, batch_dims), batch_strides = Pick(out_strides, batch_dims);
  Strided from{0, Pick(in_strides, window_dims)}, to{0, Pick(out_strides, attrs.offset_dims)};
  const IndexVectors vectors(call.operands[1], attrs.index_vector_dim, attrs.start_index_map,
                             attrs.operand_batching_dims, attrs.start_indices_batching_dims);
  Index batch(batch_dims.size(), 0), start(in.dims.size());
  do {
    vectors.Start(batch, start);
    for (size_t d = 0; d < start.size(); ++d) {
      start[d] = std::clamp<int64_t>(start[d], 0, in.dims[d] - attrs.slice_sizes[d]);
    }
    from.offset = Dot(start, in_strides);
    to.offset = Dot(batch, batch_strides);
    StridedCopy(window, call.operands[0].bytes().data(), from, out.data(), to, SizeOf(in.dtype));
  } while (Next(batch, batch_sizes));
  return One(std::move(out));
}

Results EvaluateScatter(const OpCall& call) {
  const auto& attrs = call.op.as<ScatterAttrs>();
  const size_t n = call.op.results.size();
  const Index& dims = call.operands[0].shape().dims;
  const Literal& indices = call.operands[n];
  const Index& update_dims = call.operands[n + 1].shape().dims;
  std::vector<Array> out;
  for (size_t i = 0; i < n; ++i) {
    out.emplace_back(call.result_shape(i));
    const std::span<const std::byte> bytes = call.operands[i].bytes();
    if (!bytes.empty()) std::memcpy(out[i].data(), bytes.data(), bytes.size());
  }
  auto seal = [&] {
    std::vector<Literal> results;
    for (Array& array : out) results.push_back(std::move(array).Seal());
    return results;
  };
  if (HasZero(update_dims)) return seal();

  const Index strides = Strides(dims), update_strides = Strides(update_dims);
  const Index batch_dims = DimsBut(update_dims.size(), attrs.update_window_dims);
  const Index window_dims = DimsBut(dims.size(), attrs.inserted_window_dims, attrs.input_batching_dims);
  const Index window = Pick(update_dims, attrs.update_window_dims);
  const Index window_strides = Pick(strides, window_dims);
  const Index update_window_strides = Pick(update_strides, attrs.update_window_dims);
  const Index batch_sizes = Pick(update_dims, batch_dims), batch_strides = Pick(update_strides, batch_dims);
  Index extent(dims.size(), 1);
  for (size_t i = 0; i < window_dims.size(); ++i) extent[window_dims[i]] = window[i];
  const IndexVectors vectors(indices, attrs.index_vector_dim, attrs.scatter_dims_to_operand_dims,
                             attrs.input_batching_dims, attrs.scatter_indices_batching_dims);
  ScalarRegion region(*call.op.regions[0], call.context);
  std::vector<const std::byte*> arguments(2 * n);
  std::vector<std::byte*> results(n);
  Index batch(batch_dims.size(), 0), start(dims.size()), position(window.size(), 0);
  do {
    vectors.Start(batch, start);
    bool fits = true;
    for (size_t d = 0; d < dims.size(); ++d) fits = fits && start[d] >= 0 && start[d] <= dims[d] - extent[d];
    if (!fits) continue;
    const int64_t base = Dot(start, strides), update_base = Dot(batch, batch_strides);
    do {
      const int64_t to = base + Dot(position, window_strides);
      const int64_t from = update_base + Dot(position, update_window_strides);
      for (size_t i = 0; i < n; ++i) {
        const int64_t element = SizeOf(out[i].shape().dtype);
        results[i] = out[i].data() + to * element;
        arguments[i] = results[i];
        arguments[n + i] = call.operands[n + 1 + i].bytes().data() + from * element;
      }
      ALPA_RETURN_IF_ERROR(region.Call(arguments, results));
    } while (Next(position, window));
  } while (Next(batch, batch_sizes));
  return seal();
}

}  // namespace alpa::graph::internal
