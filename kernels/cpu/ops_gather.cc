// Builds gather and scatter. Each index vector selects a window of the big array.
//
// Threads split the windows of a gather. The windows of a scatter may overlap and are combined in the order of the
// indices, so threads split the elements of each window instead.
#include <algorithm>
#include <cstring>
#include <memory>

#include "base/status.h"
#include "kernels/cpu/copy.h"
#include "kernels/cpu/index_reader.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/tile_prims.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DType;
using graph::Opcode;
using graph::Shape;
using Dims = std::vector<int64_t>;

bool Contains(const Dims& list, int64_t x) { return std::find(list.begin(), list.end(), x) != list.end(); }

Dims DimsBut(int64_t rank, const Dims& left_out, const Dims& also = {}) {
  Dims rest;
  for (int64_t d = 0; d < rank; ++d) {
    if (!Contains(left_out, d) && !Contains(also, d)) rest.push_back(d);
  }
  return rest;
}

Dims Pick(const Dims& values, const Dims& at) {
  Dims picked;
  for (int64_t d : at) picked.push_back(values[d]);
  return picked;
}

// Enumerates the windows of a gather or scatter. Gives the offset of each window in the big array and in the array of
// all windows.
class Windows {
 public:
  struct Attrs {
    const Dims &index_map, &batching, &indices_batching;
    int64_t vector_dim;
  };
  // `extent` is the size of a window along each dimension of the big array. `windows` has the dimensions of the array
  // of all windows. `batch` lists the dimensions of this array along which the windows are numbered.
  Windows(const Shape& big, const Dims& extent, const Shape& indices, const Attrs& attrs, const Dims& windows,
          const Dims& batch)
      : reader_(indices.dtype), sizes_(Pick(windows, batch)), out_strides_(Pick(graph::Strides(windows), batch)) {
    const Dims big_strides = graph::Strides(big.dims), strides = graph::Strides(indices.dims);
    const Dims index_dims = DimsBut(indices.rank(), {attrs.vector_dim});
    index_strides_ = Pick(strides, index_dims);
    big_strides_.assign(sizes_.size(), 0);
    for (size_t j = 0; j < attrs.batching.size(); ++j) {
      const auto at = std::find(index_dims.begin(), index_dims.end(), attrs.indices_batching[j]) - index_dims.begin();
      big_strides_[at] += big_strides[attrs.batching[j]];
    }
    for (size_t k = 0; k < attrs.index_map.size(); ++k) {
      const int64_t d = attrs.index_map[k];
      const int64_t step = attrs.vector_dim < indices.rank() ? strides[attrs.vector_dim] : 0;
      components_.push_back({static_cast<int64_t>(k) * step, big.dims[d] - extent[d], big_strides[d]});
    }
    for (int64_t size : sizes_) count_ *= size;
  }

  int64_t count() const { return count_; }

  // Calls f(offset in the big array, offset in the array of windows) for windows [begin, end). Both offsets count
  // elements. If kClamp, clamps the starts. Otherwise skips windows that do not fit.
  template <bool kClamp, typename F>
  void ForEach(const std::byte* indices, int64_t begin, int64_t end, const F& f) const {
    if (begin >= end) return;
    Dims at(sizes_.size());
    int64_t rest = begin, index = 0, out = 0, base = 0;
    for (size_t d = sizes_.size(); d-- > 0;) {
      at[d] = rest % sizes_[d];
      rest /= sizes_[d];
      index += at[d] * index_strides_[d];
      out += at[d] * out_strides_[d];
      base += at[d] * big_strides_[d];
    }
    for (int64_t w = begin; w < end; ++w) {
      int64_t offset = base;
      bool fits = true;
      for (const Component& c : components_) {
        int64_t start = reader_.Read(indices, index + c.at);
        if constexpr (kClamp)
          start = std::clamp<int64_t>(start, 0, c.most);
        else
          fits = fits && start >= 0 && start <= c.most;
        if (fits) offset += start * c.stride;
      }
      if (fits) f(offset, out);
      for (size_t d = sizes_.size(); d-- > 0;) {
        index += index_strides_[d];
        out += out_strides_[d];
        base += big_strides_[d];
        if (++at[d] < sizes_[d]) break;
        index -= sizes_[d] * index_strides_[d];
        out -= sizes_[d] * out_strides_[d];
        base -= sizes_[d] * big_strides_[d];
        at[d] = 0;
      }
    }
  }

 private:
  struct Component {
    int64_t at, most, stride;
  };
  IndexReader reader_;
  Dims sizes_, out_strides_, index_strides_;
  Dims big_strides_;  // one entry per dimension of `batch`: the stride in the big array
  std::vector<Component> components_;
  int64_t count_ = 1;
};

BuiltKernel BuildGather(const OpContext& c) {
  const auto& attrs = c.op->as<graph::GatherAttrs>();
  const Shape& in = c.in_shape(0);
  const Shape& out = c.out_shape();
  BuiltKernel kernel;
  kernel.kind = "gather";
  if (out.elements() == 0) {
    kernel.run = [](const Frame&) { return absl::OkStatus(); };
    return kernel;
  }
  const int element = static_cast<int>(graph::SizeOf(in.dtype));
  const Dims window_dims = DimsBut(in.rank(), attrs.collapsed_slice_dims, attrs.operand_batching_dims);
  auto windows =
      std::make_shared<const Windows>(in, attrs.slice_sizes, c.in_shape(1),
                                      Windows::Attrs{attrs.start_index_map, attrs.operand_batching_dims,
                                                     attrs.start_indices_batching_dims, attrs.index_vector_dim},
                                      out.dims, DimsBut(out.rank(), attrs.offset_dims));
  auto window = std::make_shared<const StridedCopy>(Pick(attrs.slice_sizes, window_dims),
                                                    Pick(graph::Strides(in.dims), window_dims), 0,
                                                    Pick(graph::Strides(out.dims), attrs.offset_dims), 0, element);
  kernel.run = [=, source = c.in[0], indices = c.in[1], slot = c.out[0]](const Frame& frame) {
    const std::byte* const from = frame.slots[source];
    std::byte* const to = frame.slots[slot];
    if (windows->count() == 1) {
      windows->ForEach<true>(frame.slots[indices], 0, 1, [&](int64_t at, int64_t out) {
        window->Run(from + at * element, to + out * element, *frame.pool);
      });
      return absl::OkStatus();
    }
    const int64_t grain = std::max<int64_t>(1, 8192 / window->elements());
    frame.pool->For(windows->count(), grain, [&](int64_t begin, int64_t end) {
      if (window->elements() == 1 && element == 4) {
        windows->ForEach<true>(frame.slots[indices], begin, end,
                               [&](int64_t at, int64_t out) { std::memcpy(to + out * 4, from + at * 4, 4); });
      } else {
        windows->ForEach<true>(frame.slots[indices], begin, end, [&](int64_t at, int64_t out) {
          window->RunHere(from + at * element, to + out * element);
        });
      }
    });
    return absl::OkStatus();
  };
  return kernel;
}

// Computes to[i] = to[i] op from[i] for n elements in their memory form.
class Combiner {
 public:
  // Makes the combiner of `region`. Returns false if this class does not support the region. This class supports a
  // region that returns its second parameter, and a region of a single op that has a loop (OpPrim).
  static bool Make(const graph::Graph& region, DType dtype, Combiner& combiner) {
    combiner.dtype_ = dtype;
    if (region.parameters().size() != 2 || region.results().size() != 1) return false;
    if (region.results()[0] == region.parameters()[1]) {
      combiner.replaces_ = true;
      return true;
    }
    if (graph::AsReduceKind(region) == nullptr) return false;
    combiner.op_ = OpPrim(region.def(region.results()[0]), dtype);
    return combiner.op_ != nullptr;
  }

  void operator()(int64_t n, std::byte* to, const std::byte* from) const {
    const int64_t element = graph::SizeOf(dtype_);
    if (replaces_) {
      std::memcpy(to, from, static_cast<size_t>(n * element));
      return;
    }
    const Prim load = LoadPrim(dtype_), store = StorePrim(dtype_);
    if (load == nullptr && store == nullptr) return op_(n, to, to, from, nullptr);
    const Prim wrap = WrapPrim(dtype_);
    constexpr int64_t kPiece = 256;  // number of elements that are combined at a time
    alignas(64) std::byte a[kPiece * 8], b[kPiece * 8];
    for (int64_t i = 0; i < n; i += kPiece) {
      const int64_t count = std::min(kPiece, n - i);
      load(count, a, to + i * element, nullptr, nullptr);
      load(count, b, from + i * element, nullptr, nullptr);
      op_(count, a, a, b, nullptr);
      if (wrap != nullptr) wrap(count, a, a, nullptr, nullptr);
      store(count, to + i * element, a, nullptr, nullptr);
    }
  }

 private:
  DType dtype_ = DType::kF32;
  bool replaces_ = false;
  Prim op_ = nullptr;
};

// Cuts a window into rows that are dense in the big array and in the updates. If no dimension is dense, a row is one
// element.
struct WindowRows {
  Dims sizes, big_strides, update_strides;  // one entry per dimension around the rows
  int64_t length = 1, rows = 1;

  WindowRows(const Dims& window, const Dims& big, const Dims& update) {
    size_t rank = window.size();
    for (; rank > 0 && big[rank - 1] == length && update[rank - 1] == length; --rank) length *= window[rank - 1];
    sizes.assign(window.begin(), window.begin() + static_cast<int64_t>(rank));
    big_strides.assign(big.begin(), big.begin() + static_cast<int64_t>(rank));
    update_strides.assign(update.begin(), update.begin() + static_cast<int64_t>(rank));
    for (int64_t size : sizes) rows *= size;
  }

  // Calls f(offset in the big array, offset in the updates) for rows [begin, end).
  template <typename F>
  void ForEach(int64_t begin, int64_t end, const F& f) const {
    if (sizes.empty()) {
      if (begin < end) f(0, 0);
      return;
    }
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, big = 0, update = 0;
      for (size_t d = sizes.size(); d-- > 0;) {
        big += rest % sizes[d] * big_strides[d];
        update += rest % sizes[d] * update_strides[d];
        rest /= sizes[d];
      }
      f(big, update);
    }
  }
};

BuiltKernel BuildScatter(const OpContext& c) {
  const auto& attrs = c.op->as<graph::ScatterAttrs>();
  if (c.op->results.size() != 1) return {};
  const Shape& out = c.out_shape();
  const Shape& updates = c.in_shape(2);
  Combiner combine;
  if (!Combiner::Make(*c.op->regions[0], out.dtype, combine)) return {};
  const int element = static_cast<int>(graph::SizeOf(out.dtype));
  const Dims window_dims = DimsBut(out.rank(), attrs.inserted_window_dims, attrs.input_batching_dims);
  const Dims window = Pick(updates.dims, attrs.update_window_dims);
  Dims extent(out.dims.size(), 1);
  for (size_t i = 0; i < window_dims.size(); ++i) extent[window_dims[i]] = window[i];
  auto copy_all = std::make_shared<const StridedCopy>(Dims{out.elements()}, Dims{1}, 0, Dims{1}, 0, element);
  BuiltKernel kernel;
  kernel.kind = "scatter";
  if (c.in[0] != c.in[1] && c.in[0] != c.in[2]) kernel.shares = {{{c.in[0], Sharing::kUpdate}}};
  std::shared_ptr<const Windows> windows;
  if (updates.elements() > 0) {
    windows =
        std::make_shared<const Windows>(out, extent, c.in_shape(1),
                                        Windows::Attrs{attrs.scatter_dims_to_operand_dims, attrs.input_batching_dims,
                                                       attrs.scatter_indices_batching_dims, attrs.index_vector_dim},
                                        updates.dims, DimsBut(updates.rank(), attrs.update_window_dims));
  }
  auto rows = std::make_shared<const WindowRows>(window, Pick(graph::Strides(out.dims), window_dims),
                                                 Pick(graph::Strides(updates.dims), attrs.update_window_dims));
  kernel.run = [=, in = c.in, slot = c.out[0]](const Frame& frame) {
    std::byte* const to = frame.slots[slot];
    if (frame.slots[in[0]] != to) copy_all->Run(frame.slots[in[0]], to, *frame.pool);
    if (windows == nullptr) return absl::OkStatus();
    const std::byte* const indices = frame.slots[in[1]];
    const std::byte* const from = frame.slots[in[2]];
    const int64_t work = windows->count() * rows->length * rows->rows;
    const bool by_rows = rows->rows >= frame.pool->size();
    // A thread gets at least one complete row, or at least 16 elements of each row. 16 elements of 4 bytes fill a cache
    // line.
    const int64_t items = by_rows ? rows->rows : rows->length, least = by_rows ? 1 : 16;
    const int64_t grain = work < 32768 ? items : least;
    frame.pool->For(items, std::max<int64_t>(1, grain), [&](int64_t begin, int64_t end) {
      windows->ForEach<false>(indices, 0, windows->count(), [&](int64_t at, int64_t update) {
        if (by_rows) {
          rows->ForEach(begin, end, [&](int64_t big, int64_t small) {
            combine(rows->length, to + (at + big) * element, from + (update + small) * element);
          });
        } else {
          rows->ForEach(0, rows->rows, [&](int64_t big, int64_t small) {
            combine(end - begin, to + (at + big + begin) * element, from + (update + small + begin) * element);
          });
        }
      });
    });
    return absl::OkStatus();
  };
  return kernel;
}

}  // namespace

absl::StatusOr<BuiltKernel> BuildGatherOrScatter(const OpContext& context) {
  if (context.op->opcode == Opcode::kGather) return BuildGather(context);
  if (context.op->opcode == Opcode::kScatter) return BuildScatter(context);
  return BuiltKernel{};
}

}  // namespace alpa::kernels::cpu
