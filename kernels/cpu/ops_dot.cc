// Computes a dot as a batch of matrix products. If the dimensions of an operand allow it, BLAS reads the operand in
// place, through transposition flags and leading dimensions. Otherwise the operand is packed first. 16-bit floats are
// widened to f32 and accumulate in f32.
//
// The device's threads split batches or rows among themselves. Each BLAS call runs on one thread.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/status.h"
#include "kernels/cpu/dense_operand.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/matrix_product.h"
#include "kernels/cpu/ops.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DotAttrs;
using graph::DType;

// Computes rows [m0, m1) and columns [n0, n1) of C = A B, for one matrix of the batch.
template <typename T>
void MultiplyPart(const Gemm& g, const T* a, const T* b, T* c, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  MatrixProduct<T> p;
  p.m = m1 - m0;
  p.n = n1 - n0;
  p.k = g.k;
  p.a = a + m0 * (g.lhs.transposed ? 1 : g.lhs.leading);
  p.a_leading = g.lhs.leading;
  p.a_transposed = g.lhs.transposed;
  p.b = b + n0 * (g.rhs.transposed ? g.rhs.leading : 1);
  p.b_leading = g.rhs.leading;
  p.b_transposed = g.rhs.transposed;
  p.c = c + m0 * g.n + n0;
  p.c_leading = g.n;
  Multiply(p);
}

template <typename T>
void MultiplyAll(const Gemm& g, ThreadPool& pool, const T* a, const T* b, T* c) {
  const int64_t work = 2 * g.m * g.n * g.k;  // number of operations for one matrix of the batch
  const int64_t batches = static_cast<int64_t>(g.lhs.batch_offsets.size());
  auto matrix = [&](int64_t i, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
    MultiplyPart(g, a + g.lhs.batch_offsets[i], b + g.rhs.batch_offsets[i], c + i * g.m * g.n, m0, m1, n0, n1);
  };
  constexpr int64_t kWorthAThread = 1 << 19;  // minimum number of operations per thread
  if (batches >= pool.size()) {
    pool.For(batches, std::max<int64_t>(1, kWorthAThread / std::max<int64_t>(work, 1)),
             [&](int64_t begin, int64_t end) {
               for (int64_t i = begin; i < end; ++i) matrix(i, 0, g.m, 0, g.n);
             });
    return;
  }
  for (int64_t i = 0; i < batches; ++i) {
    const bool rows = g.m >= g.n;
    const int64_t line = 2 * g.k * (rows ? g.n : g.m);
    const int64_t grain = std::max<int64_t>(16, (kWorthAThread / std::max<int64_t>(line, 1) + 15) / 16 * 16);
    if (rows)
      pool.For(g.m, grain, [&](int64_t begin, int64_t end) { matrix(i, begin, end, 0, g.n); });
    else
      pool.For(g.n, grain, [&](int64_t begin, int64_t end) { matrix(i, 0, g.m, begin, end); });
  }
}

// Multiplies integers. Sums the products in 64 bits and keeps the low bits. The result equals wrapping arithmetic in
// the result's type.
template <typename T, typename R>
void MultiplyPlain(const Gemm& g, ThreadPool& pool, const T* a, const T* b, R* c) {
  const int64_t batches = static_cast<int64_t>(g.lhs.batch_offsets.size());
  const int64_t am = g.lhs.transposed ? 1 : g.lhs.leading, ak = g.lhs.transposed ? g.lhs.leading : 1;
  const int64_t bk = g.rhs.transposed ? 1 : g.rhs.leading, bn = g.rhs.transposed ? g.rhs.leading : 1;
  pool.For(batches * g.m, std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(1, g.n * g.k)),
           [&](int64_t begin, int64_t end) {
             for (int64_t row = begin; row < end; ++row) {
               const T* x = a + g.lhs.batch_offsets[row / g.m] + row % g.m * am;
               const T* y = b + g.rhs.batch_offsets[row / g.m];
               for (int64_t j = 0; j < g.n; ++j) {
                 uint64_t sum = 0;
                 for (int64_t p = 0; p < g.k; ++p)
                   sum += static_cast<uint64_t>(x[p * ak]) * static_cast<uint64_t>(y[p * bk + j * bn]);
                 c[row * g.n + j] = static_cast<R>(sum);
               }
             }
           });
}

// Provides both operands as dense arrays.
struct Operands {
  int slots[2], scratch;
  std::array<DenseOperand, 2> dense;

  template <typename T>
  const T* Ready(int i, const Frame& frame) const {
    return dense[i].Ready<T>(frame.slots[slots[i]], frame.slots[scratch], *frame.pool);
  }
};

template <typename T>
Kernel FloatKernel(const Gemm& gemm, const Operands& operands, const OpContext& c, Bytes out_at) {
  const DType dtype = c.out_shape().dtype;
  const DType computed = sizeof(T) == 4 ? DType::kF32 : DType::kF64;
  return [=, out_slot = c.out[0], n = c.out_shape().elements()](const Frame& frame) {
    std::byte* const to = dtype == computed ? frame.slots[out_slot] : frame.slots[operands.scratch] + out_at;
    T* const out = reinterpret_cast<T*>(to);
    if (gemm.k == 0)
      std::memset(out, 0, n * sizeof(T));
    else
      MultiplyAll<T>(gemm, *frame.pool, operands.Ready<T>(0, frame), operands.Ready<T>(1, frame), out);
    if (dtype != computed) ConvertFloats(computed, to, dtype, frame.slots[out_slot], n, *frame.pool);
    return absl::OkStatus();
  };
}

template <typename T, typename R>
Kernel PlainKernel(const Gemm& gemm, const Operands& operands, const OpContext& c) {
  return [=, out_slot = c.out[0]](const Frame& frame) {
    MultiplyPlain<T, R>(gemm, *frame.pool, operands.Ready<T>(0, frame), operands.Ready<T>(1, frame),
                        frame.at<R>(out_slot));
    return absl::OkStatus();
  };
}

Kernel IntegerKernel(const Gemm& gemm, const Operands& operands, const OpContext& c) {
  const DType dtype = c.in_shape(0).dtype, out = c.out_shape().dtype;
  if (dtype != c.in_shape(1).dtype) return nullptr;
  if (dtype == out) {
    switch (dtype) {
      case DType::kS8:
        return PlainKernel<int8_t, int8_t>(gemm, operands, c);
      case DType::kU8:
        return PlainKernel<uint8_t, uint8_t>(gemm, operands, c);
      case DType::kS16:
        return PlainKernel<int16_t, int16_t>(gemm, operands, c);
      case DType::kU16:
        return PlainKernel<uint16_t, uint16_t>(gemm, operands, c);
      case DType::kS32:
        return PlainKernel<int32_t, int32_t>(gemm, operands, c);
      case DType::kU32:
        return PlainKernel<uint32_t, uint32_t>(gemm, operands, c);
      case DType::kS64:
        return PlainKernel<int64_t, int64_t>(gemm, operands, c);
      case DType::kU64:
        return PlainKernel<uint64_t, uint64_t>(gemm, operands, c);
      default:
        return nullptr;
    }
  }
  if (dtype == DType::kS8 && out == DType::kS32) return PlainKernel<int8_t, int32_t>(gemm, operands, c);
  if (dtype == DType::kU8 && out == DType::kU32) return PlainKernel<uint8_t, uint32_t>(gemm, operands, c);
  return nullptr;
}

}  // namespace

absl::StatusOr<BuiltKernel> BuildDot(const OpContext& context) {
  if (context.op->opcode != graph::Opcode::kDot) return BuiltKernel{};
  const DType lhs = context.in_shape(0).dtype, rhs = context.in_shape(1).dtype, out = context.out_shape().dtype;
  const Gemm gemm = GemmOf(context.in_shape(0).dims, context.in_shape(1).dims, context.op->as<DotAttrs>());
  constexpr int64_t kMax = std::numeric_limits<int>::max();
  if (gemm.m > kMax || gemm.n > kMax || gemm.k > kMax || gemm.lhs.leading > kMax || gemm.rhs.leading > kMax) {
    return BuiltKernel{};
  }
  BuiltKernel kernel;
  kernel.kind = "dot";
  if (context.out_shape().elements() == 0) {
    kernel.run = [](const Frame&) { return absl::OkStatus(); };
    return kernel;
  }
  const bool floats = graph::IsFloat(lhs) && graph::IsFloat(rhs) && graph::IsFloat(out);
  const bool wide = lhs == DType::kF64 || rhs == DType::kF64 || out == DType::kF64;
  const DType computed = wide ? DType::kF64 : DType::kF32;
  ScratchLayout scratch;
  Operands operands{{context.in[0], context.in[1]}, context.scratch, {}};
  for (int i = 0; i < 2; ++i) {
    const graph::Shape& shape = context.in_shape(i);
    std::vector<int64_t> order = i == 0 ? gemm.lhs.packing : gemm.rhs.packing;
    if (order.empty()) {
      order.resize(shape.dims.size());
      std::iota(order.begin(), order.end(), 0);
    }
    operands.dense[i] = DenseOperand(shape, order, {}, floats ? computed : shape.dtype, scratch);
  }
  if (floats) {
    const Bytes out_at = out == computed ? 0 : scratch.Take(context.out_shape().elements() * graph::SizeOf(computed));
    kernel.run = wide ? FloatKernel<double>(gemm, operands, context, out_at)
                      : FloatKernel<float>(gemm, operands, context, out_at);
  } else {
    kernel.run = IntegerKernel(gemm, operands, context);
    if (!kernel.run) return BuiltKernel{};
  }
  kernel.scratch = scratch.size();
  return kernel;
}

}  // namespace alpa::kernels::cpu
