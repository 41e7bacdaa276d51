// Computes a convolution as matrix products A B over patches. Each row of A belongs to one position of the output. Each
// column of A belongs to one window element and one input feature. B is the kernel.
//
// Operands are first converted to [batch, spatial..., feature] and [spatial..., input feature, output feature], in f32
// (or f64), unless they are already in this form. A is never stored completely. It is divided into pieces: a piece is a
// range of rows and a range of columns. Each thread fills one piece at a time. For each range of rows, the thread adds
// the products of all pieces of these rows. A feature group uses its own features of the input and its own columns of
// B. A batch group uses its own part of the batch.
#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "base/status.h"
#include "kernels/cpu/copy.h"
#include "kernels/cpu/dense_operand.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/ops.h"

namespace alpa::kernels::cpu {
namespace {

using graph::ConvolutionAttrs;
using graph::DType;
using graph::Shape;
using graph::WindowDim;
using Dims = std::vector<int64_t>;

// Limits of a piece of A. kPieceElements is the maximum number of elements, so that a piece stays in the second-level
// cache. kPieceColumns is the maximum number of columns.
constexpr int64_t kPieceElements = 128 * 1024;
constexpr int64_t kPieceColumns = 2048;

int64_t Product(const Dims& dims) {
  int64_t product = 1;
  for (int64_t d : dims) product *= d;
  return product;
}

// The sizes of the convolution, with the dimensions in a fixed order.
struct Problem {
  std::vector<WindowDim> window;
  Dims in_spatial, out_spatial, taps;           // sizes of the input, the output and the window
  int64_t batch = 1, in_features = 1;           // sizes of the complete input
  int64_t group_batch = 1, group_features = 1;  // sizes of the part of the input that one group reads
  int64_t groups = 1, out_features = 1;         // out_features: the total of all groups
  int64_t rows = 1, columns = 1;                // sizes of A
};

Problem ProblemOf(const OpContext& c) {
  const auto& attrs = c.op->as<ConvolutionAttrs>();
  const Dims &in = c.in_shape(0).dims, &kernel = c.in_shape(1).dims, &out = c.out_shape().dims;
  Problem p;
  p.window = attrs.window;
  for (size_t d = 0; d < attrs.window.size(); ++d) {
    p.in_spatial.push_back(in[attrs.input_spatial[d]]);
    p.out_spatial.push_back(out[attrs.output_spatial[d]]);
    p.taps.push_back(kernel[attrs.kernel_spatial[d]]);
  }
  p.batch = in[attrs.input_batch];
  p.in_features = in[attrs.input_feature];
  p.groups = attrs.feature_group_count * attrs.batch_group_count;  // one of the two counts is 1
  p.group_batch = p.batch / attrs.batch_group_count;
  p.group_features = kernel[attrs.kernel_input_feature];
  p.out_features = out[attrs.output_feature];
  p.rows = p.group_batch * Product(p.out_spatial);
  p.columns = Product(p.taps) * p.group_features;
  return p;
}

// Fills a piece of A: rows [r0, r1) and columns [c0, c1) of one group, as a dense matrix.
template <typename T>
class Patches {
 public:
  explicit Patches(const Problem& p) : p_(p) { in_strides_ = graph::Strides(p.in_spatial); }

  void Fill(const T* in, int64_t group_batch_offset, int64_t feature, int64_t r0, int64_t r1, int64_t c0, int64_t c1,
            T* to) const {
    const size_t spatial = p_.window.size();
    Dims at(spatial), tap(spatial);
    const int64_t positions = Product(p_.out_spatial), image = Product(p_.in_spatial) * p_.in_features;
    for (int64_t r = r0; r < r1; ++r) {
      int64_t rest = r % positions;
      for (size_t d = spatial; d-- > 0;) {
        at[d] = rest % p_.out_spatial[d] * p_.window[d].stride - p_.window[d].padding_low;
        rest /= p_.out_spatial[d];
      }
      const T* const from = in + (group_batch_offset + r / positions) * image + feature;
      for (int64_t c = c0; c < c1;) {
        const int64_t skipped = c % p_.group_features, n = std::min(c1 - c, p_.group_features - skipped);
        int64_t which = c / p_.group_features;
        for (size_t d = spatial; d-- > 0;) {
          tap[d] = which % p_.taps[d];
          which /= p_.taps[d];
        }
        int64_t offset = 0;
        bool inside = true;
        for (size_t d = 0; d < spatial && inside; ++d) {
          const int64_t padded = at[d] + tap[d] * p_.window[d].window_dilation, dilation = p_.window[d].base_dilation;
          inside = padded >= 0 && padded % dilation == 0 && padded / dilation < p_.in_spatial[d];
          offset += padded / dilation * in_strides_[d];
        }
        if (inside)
          std::memcpy(to, from + offset * p_.in_features + skipped, n * sizeof(T));
        else
          std::fill_n(to, n, T{0});
        to += n;
        c += n;
      }
    }
  }

 private:
  const Problem& p_;
  Dims in_strides_;
};

template <typename T>
struct Plan {
  static constexpr DType kComputed = sizeof(T) == 4 ? DType::kF32 : DType::kF64;
  Problem p;
  DenseOperand input, kernel;
  // If `direct`, the products write directly to the output. Otherwise they write an array [batch, spatial..., feature]
  // to scratch, and `placed` copies the array to the output.
  bool direct = false;
  DType out_dtype = DType::kF32;
  std::unique_ptr<const StridedCopy> placed;  // copies elements of out_dtype
  Bytes out_at = 0, narrow_at = 0, pieces_at = 0, piece_bytes = 0;
  int64_t piece_rows = 1, piece_columns = 1;
  int in = -1, weights = -1, out = -1, scratch = -1;

  void Run(const Frame& frame) const {
    std::byte* const scratch_memory = frame.slots[scratch];
    const T* const a = input.Ready<T>(frame.slots[in], scratch_memory, *frame.pool);
    const T* const b = kernel.Ready<T>(frame.slots[weights], scratch_memory, *frame.pool);
    T* const c = reinterpret_cast<T*>(direct ? frame.slots[out] : scratch_memory + out_at);
    Multiply(frame, a, b, c);
    if (direct) return;
    const int64_t n = p.rows * p.out_features;
    const std::byte* computed = reinterpret_cast<const std::byte*>(c);
    if (narrow_at >= 0) {
      ConvertFloats(kComputed, computed, out_dtype, scratch_memory + narrow_at, n, *frame.pool);
      computed = scratch_memory + narrow_at;
    }
    placed->Run(computed, frame.slots[out], *frame.pool);
  }

  // Divides the rows of each group into ranges, and splits the ranges of all groups among the threads.
  void Multiply(const Frame& frame, const T* a, const T* b, T* c) const {
    const int64_t per_group = (p.rows + piece_rows - 1) / piece_rows, pieces = per_group * p.groups;
    const int64_t group_out = p.out_features / p.groups;
    const bool batch_groups = p.group_batch != p.batch;
    const Patches<T> patches(p);
    const int parts = static_cast<int>(std::min<int64_t>(pieces, frame.pool->size()));
    frame.pool->Run(parts, [&](int part) {
      T* const piece = reinterpret_cast<T*>(frame.slots[scratch] + pieces_at + part * piece_bytes);
      for (int64_t i = pieces * part / parts; i < pieces * (part + 1) / parts; ++i) {
        const int64_t group = i / per_group, r0 = i % per_group * piece_rows, r1 = std::min(p.rows, r0 + piece_rows);
        const int64_t batch_offset = batch_groups ? group * p.group_batch : 0;
        const int64_t feature = batch_groups ? 0 : group * p.group_features;
        for (int64_t c0 = 0; c0 < p.columns; c0 += piece_columns) {
          const int64_t c1 = std::min(p.columns, c0 + piece_columns);
          patches.Fill(a, batch_offset, feature, r0, r1, c0, c1, piece);
          MatrixProduct<T> product{.m = r1 - r0, .n = group_out, .k = c1 - c0};
          product.a = piece;
          product.a_leading = c1 - c0;
          product.b = b + c0 * p.out_features + group * group_out;
          product.b_leading = p.out_features;
          product.c = c + r0 * p.out_features + group * group_out;
          product.c_leading = p.out_features;
          product.add = c0 > 0;
          cpu::Multiply(product);
        }
      }
    });
  }
};

template <typename T>
BuiltKernel Build(const OpContext& c) {
  const auto& attrs = c.op->as<ConvolutionAttrs>();
  auto plan = std::make_shared<Plan<T>>();
  plan->p = ProblemOf(c);
  const Problem& p = plan->p;
  plan->in = c.in[0];
  plan->weights = c.in[1];
  plan->out = c.out[0];
  plan->scratch = c.scratch;
  constexpr DType kComputed = Plan<T>::kComputed;
  ScratchLayout scratch;

  Dims order{attrs.input_batch};
  order.insert(order.end(), attrs.input_spatial.begin(), attrs.input_spatial.end());
  order.push_back(attrs.input_feature);
  plan->input = DenseOperand(c.in_shape(0), order, {}, kComputed, scratch);
  order = attrs.kernel_spatial;
  order.insert(order.end(), {attrs.kernel_input_feature, attrs.kernel_output_feature});
  Dims reversed;
  for (size_t d = 0; d < attrs.window.size(); ++d) {
    if (attrs.window[d].reversal) reversed.push_back(attrs.kernel_spatial[d]);
  }
  plan->kernel = DenseOperand(c.in_shape(1), order, reversed, kComputed, scratch);

  const Shape& out = c.out_shape();
  plan->out_dtype = out.dtype;
  Dims out_order{attrs.output_batch};
  out_order.insert(out_order.end(), attrs.output_spatial.begin(), attrs.output_spatial.end());
  out_order.push_back(attrs.output_feature);
  const Dims computed = StridesInOrder(out.dims, out_order), placed = graph::Strides(out.dims);
  plan->placed =
      std::make_unique<StridedCopy>(out.dims, computed, 0, placed, 0, static_cast<int>(graph::SizeOf(out.dtype)));
  plan->direct = plan->placed->IsRun() && out.dtype == kComputed;
  if (!plan->direct) plan->out_at = scratch.Take(out.elements() * sizeof(T));
  plan->narrow_at = out.dtype == kComputed ? -1 : scratch.Take(out.bytes());

  plan->piece_columns = std::clamp<int64_t>(p.columns, 1, kPieceColumns);
  // If there are enough rows, every thread gets at least one range of rows.
  const int64_t share = (p.rows * p.groups + c.threads - 1) / c.threads;
  plan->piece_rows = std::clamp<int64_t>(std::min(kPieceElements / plan->piece_columns, share), 1, p.rows);
  plan->piece_bytes = plan->piece_rows * plan->piece_columns * static_cast<Bytes>(sizeof(T));
  plan->pieces_at = scratch.Take(plan->piece_bytes * c.threads);

  BuiltKernel kernel;
  kernel.kind = "convolution";
  kernel.scratch = scratch.size();
  kernel.run = [plan = std::shared_ptr<const Plan<T>>(plan)](const Frame& frame) {
    plan->Run(frame);
    return absl::OkStatus();
  };
  return kernel;
}

}  // namespace

absl::StatusOr<BuiltKernel> BuildConvolution(const OpContext& context) {
  if (context.op->opcode != graph::Opcode::kConvolution) return BuiltKernel{};
  const DType lhs = context.in_shape(0).dtype, rhs = context.in_shape(1).dtype, out = context.out_shape().dtype;
  if (!graph::IsFloat(lhs) || !graph::IsFloat(rhs) || !graph::IsFloat(out)) return BuiltKernel{};
  const Problem p = ProblemOf(context);
  if (context.out_shape().elements() == 0) {
    BuiltKernel nothing;
    nothing.kind = "convolution";
    nothing.run = [](const Frame&) { return absl::OkStatus(); };
    return nothing;
  }
  if (p.columns == 0 || p.out_features > std::numeric_limits<int>::max()) return BuiltKernel{};
  const bool wide = lhs == DType::kF64 || rhs == DType::kF64 || out == DType::kF64;
  return wide ? Build<double>(context) : Build<float>(context);
}

}  // namespace alpa::kernels::cpu
