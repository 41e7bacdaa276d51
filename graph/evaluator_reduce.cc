// Reduce, reduce-window and select-and-scatter.
#include <algorithm>

#include "graph/evaluator_internal.h"

namespace alpa::graph::internal {
namespace {

// Returns the function that combines two elements in a reduction of one array. Returns null if the reduction has
// several arrays, if AsReduceKind does not know its region, or if T has no reduction of this kind.
template <typename T>
Combine<T> PlainCombine(const Op& op, size_t operands) {
  if (operands != 1) return nullptr;
  const ReduceKind* kind = AsReduceKind(*op.regions[0]);
  return kind == nullptr ? nullptr : CombineFor<T>(*kind);
}

struct ReduceGeometry {
  Index dims;          // dimensions of the operand
  Index out_strides;   // one entry per operand dimension: its stride in the result, or 0 if reduced
};

ReduceGeometry GeometryOf(const OpCall& call) {
  const Index& reduced = call.op.as<DimsAttrs>().dims;
  ReduceGeometry g{call.operands[0].shape().dims, {}};
  const Index kept_strides = Strides(call.result_shape().dims);
  g.out_strides.assign(g.dims.size(), 0);
  size_t kept = 0;
  for (size_t d = 0; d < g.dims.size(); ++d) {
    if (std::find(reduced.begin(), reduced.end(), static_cast<int64_t>(d)) == reduced.end()) {
      g.out_strides[d] = kept_strides[kept++];
    }
  }
  return g;
}

// Calls f(operand position, result position) for every operand element in row-major order.
template <typename F>
void ForEachReduced(const ReduceGeometry& g, F&& f) {
  if (std::find(g.dims.begin(), g.dims.end(), 0) != g.dims.end()) return;
  const size_t outer = g.dims.empty() ? 0 : g.dims.size() - 1;
  const int64_t inner = g.dims.empty() ? 1 : g.dims.back();
  const int64_t step = g.dims.empty() ? 0 : g.out_strides.back();
  Index index(outer, 0);
  int64_t from = 0;
  do {
    int64_t to = 0;
    for (size_t d = 0; d < outer; ++d) to += index[d] * g.out_strides[d];
    for (int64_t i = 0; i < inner; ++i) f(from++, to + i * step);
  } while (Next(index, std::span(g.dims).first(outer)));
}

template <typename T>
void PlainReduce(const OpCall& call, Combine<T> combine, Array& out) {
  // std::vector<bool> packs its elements as bits, so pred values are held as uint8_t.
  using Held = std::conditional_t<kIsPred<T>, uint8_t, WideOf<T>>;
  const T* x = Data<T>(call.operands[0]);
  std::vector<Held> sums(out.shape().elements(), Element<T>::Load(*Data<T>(call.operands[1])));
  ForEachReduced(GeometryOf(call),
                 [&](int64_t from, int64_t to) { sums[to] = combine(sums[to], Element<T>::Load(x[from])); });
  for (size_t i = 0; i < sums.size(); ++i) out.as<T>()[i] = Element<T>::Store(sums[i]);
}

// Returns result arrays that are filled with the initial values (operands n to 2n - 1).
std::vector<Array> FilledWithInitial(const OpCall& call, size_t n) {
  std::vector<Array> out;
  for (size_t i = 0; i < n; ++i) {
    out.emplace_back(call.result_shape(i));
    StridedCopy({out[i].shape().elements()}, call.operands[n + i].bytes().data(), {0, {0}}, out[i].data(), {0, {1}},
                SizeOf(out[i].shape().dtype));
  }
  return out;
}

Results SealAll(std::vector<Array> arrays) {
  std::vector<Literal> results;
  for (Array& array : arrays) results.push_back(std::move(array).Seal());
  return results;
}

// Calls the region to fold element `from` of each operand into element `to` of the corresponding result.
class Folder {
 public:
  Folder(const OpCall& call, size_t n, std::vector<Array>& out)
      : call_(call), n_(n), out_(out), region_(*call.op.regions[0], call.context), arguments_(2 * n), results_(n) {}

  absl::Status Fold(int64_t from, int64_t to) {
    for (size_t i = 0; i < n_; ++i) {
      const int64_t element = SizeOf(out_[i].shape().dtype);
      results_[i] = out_[i].data() + to * element;
      arguments_[i] = results_[i];
      arguments_[n_ + i] = call_.operands[i].bytes().data() + from * element;
    }
    return region_.Call(arguments_, results_);
  }

 private:
  const OpCall& call_;
  size_t n_;
  std::vector<Array>& out_;
  ScalarRegion region_;
  std::vector<const std::byte*> arguments_;
  std::vector<std::byte*> results_;
};

// Enumerates the array elements in a window. Positions in the padding or between dilated elements are skipped.
class Windows {
 public:
  Windows(const Index& dims, const std::vector<WindowDim>& window) : dims_(dims), window_(window) {
    strides_ = Strides(dims);
    for (const WindowDim& w : window) sizes_.push_back(w.size);
  }

  // Calls f(position in the array) for every element that the window at `at` covers, in row-major order of the window.
  template <typename F>
  absl::Status ForEach(const Index& at, F&& f) {
    Index k(sizes_.size(), 0);
    if (std::find(sizes_.begin(), sizes_.end(), 0) != sizes_.end()) return absl::OkStatus();
    do {
      int64_t position = 0;
      bool inside = true;
      for (size_t d = 0; d < sizes_.size() && inside; ++d) {
        const WindowDim& w = window_[d];
        const int64_t tap = w.reversal ? w.size - 1 - k[d] : k[d];
        const int64_t padded = at[d] * w.stride + tap * w.window_dilation - w.padding_low;
        inside = padded >= 0 && padded % w.base_dilation == 0 && padded / w.base_dilation < dims_[d];
        position += padded / w.base_dilation * strides_[d];
      }
      if (inside) ALPA_RETURN_IF_ERROR(f(position));
    } while (Next(k, sizes_));
    return absl::OkStatus();
  }

 private:
  const Index& dims_;
  const std::vector<WindowDim>& window_;
  Index strides_, sizes_;
};

template <typename T>
void PlainReduceWindow(const OpCall& call, Combine<T> combine, Array& out) {
  const T* x = Data<T>(call.operands[0]);
  const WideOf<T> initial = Element<T>::Load(*Data<T>(call.operands[1]));
  Windows windows(call.operands[0].shape().dims, call.op.as<WindowAttrs>().window);
  Index at(out.shape().dims.size(), 0);
  for (int64_t to = 0, n = out.shape().elements(); to < n; ++to) {
    WideOf<T> sum = initial;
    (void)windows.ForEach(at, [&](int64_t from) {  // the lambda never fails
      sum = combine(sum, Element<T>::Load(x[from]));
      return absl::OkStatus();
    });
    out.as<T>()[to] = Element<T>::Store(sum);
    Next(at, out.shape().dims);
  }
}

}  // namespace

Results EvaluateReduce(const OpCall& call) {
  const size_t n = call.op.results.size();
  ALPA_RETURN_IF_ERROR(CheckBudget(call.context, call.graph, call.op, call.result_shape().elements() * 16));
  Array plain(call.result_shape());
  const bool done = VisitDType(plain.shape().dtype, [&]<typename T>() {
    const Combine<T> combine = PlainCombine<T>(call.op, n);
    if (combine != nullptr) PlainReduce<T>(call, combine, plain);
    return combine != nullptr;
  });
  if (done) return One(std::move(plain));
  std::vector<Array> out = FilledWithInitial(call, n);
  Folder folder(call, n, out);
  absl::Status status;
  ForEachReduced(GeometryOf(call), [&](int64_t from, int64_t to) {
    if (status.ok()) status = folder.Fold(from, to);
  });
  ALPA_RETURN_IF_ERROR(status);
  return SealAll(std::move(out));
}

Results EvaluateReduceWindow(const OpCall& call) {
  const size_t n = call.op.results.size();
  Array plain(call.result_shape());
  const bool done = VisitDType(plain.shape().dtype, [&]<typename T>() {
    const Combine<T> combine = PlainCombine<T>(call.op, n);
    if (combine != nullptr) PlainReduceWindow<T>(call, combine, plain);
    return combine != nullptr;
  });
  if (done) return One(std::move(plain));
  std::vector<Array> out = FilledWithInitial(call, n);
  Folder folder(call, n, out);
  Windows windows(call.operands[0].shape().dims, call.op.as<WindowAttrs>().window);
  const Shape& shape = call.result_shape();
  Index at(shape.dims.size(), 0);
  for (int64_t to = 0, count = shape.elements(); to < count; ++to) {
    ALPA_RETURN_IF_ERROR(windows.ForEach(at, [&](int64_t from) { return folder.Fold(from, to); }));
    Next(at, shape.dims);
  }
  return SealAll(std::move(out));
}

Results EvaluateSelectAndScatter(const OpCall& call) {
  const Literal& operand = call.operands[0];
  const Literal& source = call.operands[1];
  const int64_t element = SizeOf(operand.shape().dtype);
  Array out(call.result_shape());
  StridedCopy({out.shape().elements()}, call.operands[2].bytes().data(), {0, {0}}, out.data(), {0, {1}}, element);
  ScalarRegion select(*call.op.regions[0], call.context), scatter(*call.op.regions[1], call.context);
  Windows windows(operand.shape().dims, call.op.as<WindowAttrs>().window);
  Index at(source.shape().dims.size(), 0);
  for (int64_t s = 0, n = source.shape().elements(); s < n; ++s) {
    // The first element is chosen at the start. It stays chosen until select(chosen, next) is false.
    int64_t chosen = -1;
    ALPA_RETURN_IF_ERROR(windows.ForEach(at, [&](int64_t next) -> absl::Status {
      std::byte keep{1};
      if (chosen >= 0) {
        const std::byte* pair[] = {operand.bytes().data() + chosen * element, operand.bytes().data() + next * element};
        std::byte* result[] = {&keep};
        ALPA_RETURN_IF_ERROR(select.Call(pair, result));
      }
      if (chosen < 0 || keep == std::byte{0}) chosen = next;
      return absl::OkStatus();
    }));
    if (chosen >= 0) {
      std::byte* target[] = {out.data() + chosen * element};
      const std::byte* pair[] = {target[0], source.bytes().data() + s * element};
      ALPA_RETURN_IF_ERROR(scatter.Call(pair, target));
    }
    Next(at, source.shape().dims);
  }
  return One(std::move(out));
}

}  // namespace alpa::graph::internal
