// Dot and convolution. Both ops widen their operands once: floats to double, integers to 64 bits. The low bits of a
// 64-bit result equal the result of the same arithmetic in the narrower type. So one loop in double and one loop in
// uint64_t serve all types.
#include <algorithm>
#include <numeric>

#include "graph/evaluator_internal.h"

namespace alpa::graph::internal {
namespace {

// Returns the widened elements of `literal` that `view` reads, for all indices in `dims` in row-major order.
template <typename W>
std::vector<W> Widened(const Literal& literal, const Index& dims, const Strided& view) {
  std::vector<W> wide(Product(dims));
  if (wide.empty()) return wide;
  VisitDType(literal.shape().dtype, [&]<typename T>() {
    const T* x = Data<T>(literal);
    Index index(dims.size(), 0);
    for (W& w : wide) {
      int64_t at = view.offset;
      for (size_t d = 0; d < dims.size(); ++d) at += index[d] * view.strides[d];
      w = static_cast<W>(Element<T>::Load(x[at]));
      Next(index, dims);
    }
  });
  return wide;
}

template <typename W>
void Narrow(const std::vector<W>& wide, Array& out) {
  VisitDType(out.shape().dtype, [&]<typename T>() {
    T* to = out.as<T>();
    for (size_t i = 0; i < wide.size(); ++i) {
      if constexpr (kIsPred<T>) to[i] = Element<T>::Store(wide[i] != 0);
      else to[i] = Element<T>::Store(static_cast<WideOf<T>>(wide[i]));
    }
  });
}

Index FreeDims(int rank, const Index& a, const Index& b) {
  Index rest;
  for (int64_t d = 0; d < rank; ++d) {
    if (std::find(a.begin(), a.end(), d) == a.end() && std::find(b.begin(), b.end(), d) == b.end()) rest.push_back(d);
  }
  return rest;
}

// Returns the elements of `literal` with its dimensions reordered: first `a`, then `b`, then `c`. Sets `sizes` to the
// number of elements of each of these three groups.
template <typename W>
std::vector<W> Grouped(const Literal& literal, const Index& a, const Index& b, const Index& c, int64_t (&sizes)[3]) {
  const Index strides = Strides(literal.shape().dims);
  Index dims;
  Strided view;
  int group = 0;
  for (const Index* list : {&a, &b, &c}) {
    sizes[group] = 1;
    for (int64_t d : *list) {
      sizes[group] *= literal.shape().dims[d];
      dims.push_back(literal.shape().dims[d]);
      view.strides.push_back(strides[d]);
    }
    ++group;
  }
  return Widened<W>(literal, dims, view);
}

template <typename W>
void DotWide(const OpCall& call, Array& out) {
  const auto& attrs = call.op.as<DotAttrs>();
  const Literal& lhs = call.operands[0];
  const Literal& rhs = call.operands[1];
  int64_t l[3], r[3];
  const std::vector<W> a = Grouped<W>(lhs, attrs.lhs_batch,
                                      FreeDims(lhs.shape().rank(), attrs.lhs_batch, attrs.lhs_contracting),
                                      attrs.lhs_contracting, l);
  const std::vector<W> b = Grouped<W>(rhs, attrs.rhs_batch, attrs.rhs_contracting,
                                      FreeDims(rhs.shape().rank(), attrs.rhs_batch, attrs.rhs_contracting), r);
  const int64_t batch = l[0], m = l[1], k = l[2], n = r[2];
  std::vector<W> c(batch * m * n, W{0});
  for (int64_t g = 0; g < batch; ++g) {
    for (int64_t i = 0; i < m; ++i) {
      W* row = c.data() + (g * m + i) * n;
      for (int64_t p = 0; p < k; ++p) {
        const W x = a[(g * m + i) * k + p];
        const W* column = b.data() + (g * k + p) * n;
        for (int64_t j = 0; j < n; ++j) row[j] += x * column[j];
      }
    }
  }
  Narrow(c, out);
}

template <typename W>
void ConvolveWide(const OpCall& call, Array& out) {
  const auto& attrs = call.op.as<ConvolutionAttrs>();
  const Literal& input = call.operands[0];
  const Literal& kernel = call.operands[1];
  const size_t spatial = attrs.window.size();
  auto plain = [](const Literal& x) { return Widened<W>(x, {x.shape().elements()}, {0, {1}}); };
  const std::vector<W> in = plain(input), taps = plain(kernel);
  const Index& in_dims = input.shape().dims;
  const Index& kernel_dims = kernel.shape().dims;
  const Index in_strides = Strides(in_dims), kernel_strides = Strides(kernel_dims);
  const Index& out_dims = out.shape().dims;

  const int64_t group_features = kernel_dims[attrs.kernel_input_feature];
  const int64_t outputs_per_group = out_dims[attrs.output_feature] / attrs.feature_group_count;
  const int64_t outputs_per_batch_group = out_dims[attrs.output_feature] / attrs.batch_group_count;
  const int64_t batch_group_size = in_dims[attrs.input_batch] / attrs.batch_group_count;
  Index window_sizes;
  for (const WindowDim& w : attrs.window) window_sizes.push_back(w.size);
  const bool empty_window = std::find(window_sizes.begin(), window_sizes.end(), 0) != window_sizes.end();

  std::vector<W> result(out.shape().elements(), W{0});
  Index at(out_dims.size(), 0), tap(spatial, 0);
  for (W& sum : result) {
    const int64_t feature = at[attrs.output_feature];
    const int64_t batch =
        at[attrs.output_batch] + feature / std::max<int64_t>(outputs_per_batch_group, 1) * batch_group_size;
    const int64_t first_feature = feature / std::max<int64_t>(outputs_per_group, 1) * group_features;
    bool more = !empty_window;
    while (more) {
      int64_t from = batch * in_strides[attrs.input_batch] + first_feature * in_strides[attrs.input_feature];
      int64_t weight = feature * kernel_strides[attrs.kernel_output_feature];
      bool inside = true;
      for (size_t d = 0; d < spatial && inside; ++d) {
        const WindowDim& w = attrs.window[d];
        const int64_t padded = at[attrs.output_spatial[d]] * w.stride + tap[d] * w.window_dilation - w.padding_low;
        inside = padded >= 0 && padded % w.base_dilation == 0 &&
                 padded / w.base_dilation < in_dims[attrs.input_spatial[d]];
        from += padded / w.base_dilation * in_strides[attrs.input_spatial[d]];
        weight += (w.reversal ? w.size - 1 - tap[d] : tap[d]) * kernel_strides[attrs.kernel_spatial[d]];
      }
      if (inside) {
        for (int64_t f = 0; f < group_features; ++f) {
          sum += in[from + f * in_strides[attrs.input_feature]] *
                 taps[weight + f * kernel_strides[attrs.kernel_input_feature]];
        }
      }
      more = Next(tap, window_sizes);
    }
    Next(at, out_dims);
  }
  Narrow(result, out);
}

absl::Status CheckWideBudget(const OpCall& call) {
  const int64_t elements = call.operands[0].shape().elements() + call.operands[1].shape().elements() +
                           call.result_shape().elements();
  return CheckBudget(call.context, call.graph, call.op, elements * 8 + call.result_shape().bytes());
}

bool AnyFloat(const OpCall& call) {
  return IsFloat(call.operands[0].shape().dtype) || IsFloat(call.operands[1].shape().dtype) ||
         IsFloat(call.result_shape().dtype);
}

}  // namespace

Results EvaluateDot(const OpCall& call) {
  ALPA_RETURN_IF_ERROR(CheckWideBudget(call));
  Array out(call.result_shape());
  if (AnyFloat(call)) DotWide<double>(call, out);
  else DotWide<uint64_t>(call, out);
  return One(std::move(out));
}

Results EvaluateConvolution(const OpCall& call) {
  ALPA_RETURN_IF_ERROR(CheckWideBudget(call));
  Array out(call.result_shape());
  if (AnyFloat(call)) ConvolveWide<double>(call, out);
  else ConvolveWide<uint64_t>(call, out);
  return One(std::move(out));
}

}  // namespace alpa::graph::internal
