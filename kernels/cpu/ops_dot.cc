// Dot as a batch of matrix products: operands are read in place through BLAS's transposition flags and leading
// dimensions where their dimensions allow it, and packed otherwise. 16-bit floats are widened to f32 and accumulate
// there.
//
// The device's threads split batches or rows among themselves; BLAS itself runs on one thread a call.
#include <cblas.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "base/status.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/tile_prims.h"
#include "kernels/cpu/view.h"

namespace alpa::kernels::cpu {
namespace {

using graph::DotAttrs;
using graph::DType;

Bytes Rounded(Bytes size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

// C = A B for one matrix of the batch, rows [begin, end) of C, or columns where the product is split so.
template <typename T>
void Multiply(const Gemm& g, const T* a, const T* b, T* c, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  const CBLAS_TRANSPOSE ta = g.lhs.transposed ? CblasTrans : CblasNoTrans,
                        tb = g.rhs.transposed ? CblasTrans : CblasNoTrans;
  const T* const a0 = a + m0 * (g.lhs.transposed ? 1 : g.lhs.leading);
  const T* const b0 = b + n0 * (g.rhs.transposed ? g.rhs.leading : 1);
  T* const c0 = c + m0 * g.n + n0;
  const int m = static_cast<int>(m1 - m0), n = static_cast<int>(n1 - n0), k = static_cast<int>(g.k);
  if constexpr (sizeof(T) == 4) {
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1, a0, static_cast<int>(g.lhs.leading), b0,
                static_cast<int>(g.rhs.leading), 0, c0, static_cast<int>(g.n));
  } else {
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1, a0, static_cast<int>(g.lhs.leading), b0,
                static_cast<int>(g.rhs.leading), 0, c0, static_cast<int>(g.n));
  }
}

template <typename T>
void MultiplyAll(const Gemm& g, ThreadPool& pool, const T* a, const T* b, T* c) {
  const int64_t work = 2 * g.m * g.n * g.k;  // of one matrix
  const int64_t batches = static_cast<int64_t>(g.lhs.batch_offsets.size());
  auto matrix = [&](int64_t i, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
    Multiply(g, a + g.lhs.batch_offsets[i], b + g.rhs.batch_offsets[i], c + i * g.m * g.n, m0, m1, n0, n1);
  };
  constexpr int64_t kWorthAThread = 1 << 19;  // operations
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

// Sums of products in the type itself, wrapping; for integers and pred.
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

// n elements of any float type to T.
template <typename T>
void Widen(DType dtype, const std::byte* from, int64_t n, T* to) {
  if (dtype == DType::kF64) {
    for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(reinterpret_cast<const double*>(from)[i]);
    return;
  }
  alignas(64) float lane[1024];
  const Prim load = LoadPrim(dtype);
  const int64_t element = graph::SizeOf(dtype);
  for (int64_t i = 0; i < n; i += 1024) {
    const int64_t count = std::min<int64_t>(1024, n - i);
    if (load != nullptr)
      load(count, lane, from + i * element, nullptr, nullptr);
    else
      std::memcpy(lane, from + i * element, count * 4);
    for (int64_t k = 0; k < count; ++k) to[i + k] = static_cast<T>(lane[k]);
  }
}

// One operand made ready: widened, packed, both or neither.
struct Operand {
  int slot;
  graph::Shape shape;
  bool packed = false, widened = false;
  View view;                            // of packing
  Bytes packed_at = 0, widened_at = 0;  // in scratch
};

template <typename T>
const T* Ready(const Operand& o, const Frame& frame, std::byte* scratch) {
  const std::byte* data = frame.slots[o.slot];
  const int64_t n = o.shape.elements();
  const int element = static_cast<int>(graph::SizeOf(o.shape.dtype));
  if (o.packed) {
    std::byte* const to = scratch + o.packed_at;
    frame.pool->For(n, 16384, [&](int64_t begin, int64_t end) {
      CopyView(o.view, data, element, begin, end - begin, to + begin * element);
    });
    data = to;
  }
  if (o.widened) {
    T* const to = reinterpret_cast<T*>(scratch + o.widened_at);
    frame.pool->For(n, 16384, [&](int64_t begin, int64_t end) {
      Widen(o.shape.dtype, data + begin * element, end - begin, to + begin);
    });
    return to;
  }
  return reinterpret_cast<const T*>(data);
}

template <typename T>
Kernel FloatKernel(const Gemm& gemm, std::array<Operand, 2> operands, const OpContext& c, Bytes out_at) {
  const DType dtype = c.out_shape().dtype;
  const DType computed = sizeof(T) == 4 ? DType::kF32 : DType::kF64;
  return [=, out_slot = c.out[0], scratch_slot = c.scratch, n = c.out_shape().elements()](const Frame& frame) {
    std::byte* const scratch = frame.slots[scratch_slot];
    T* const out = reinterpret_cast<T*>(dtype == computed ? frame.slots[out_slot] : scratch + out_at);
    if (gemm.k == 0)
      std::memset(out, 0, n * sizeof(T));
    else
      MultiplyAll<T>(gemm, *frame.pool, Ready<T>(operands[0], frame, scratch), Ready<T>(operands[1], frame, scratch),
                     out);
    if (dtype == computed) return absl::OkStatus();
    const Prim convert = ConvertPrim(computed, dtype), store = StorePrim(dtype);
    const int64_t element = graph::SizeOf(dtype);
    frame.pool->For(n, 16384, [&](int64_t begin, int64_t end) {
      alignas(64) double lane[512];
      for (int64_t i = begin; i < end; i += 512) {
        const int64_t count = std::min<int64_t>(512, end - i);
        const void* from = out + i;
        if (convert != nullptr) convert(count, lane, from, nullptr, nullptr), from = lane;
        std::byte* const to = frame.slots[out_slot] + i * element;
        if (store != nullptr)
          store(count, to, from, nullptr, nullptr);
        else
          std::memcpy(to, from, count * element);
      }
    });
    return absl::OkStatus();
  };
}

template <typename T, typename R>
Kernel PlainKernel(const Gemm& gemm, std::array<Operand, 2> operands, const OpContext& c) {
  return [=, out_slot = c.out[0], scratch_slot = c.scratch](const Frame& frame) {
    std::byte* const scratch = frame.slots[scratch_slot];
    MultiplyPlain<T, R>(gemm, *frame.pool, Ready<T>(operands[0], frame, scratch), Ready<T>(operands[1], frame, scratch),
                        frame.at<R>(out_slot));
    return absl::OkStatus();
  };
}

Kernel IntegerKernel(const Gemm& gemm, const std::array<Operand, 2>& operands, const OpContext& c) {
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
  std::array<Operand, 2> operands;
  const bool floats = graph::IsFloat(lhs) && graph::IsFloat(rhs) && graph::IsFloat(out);
  const bool wide = lhs == DType::kF64 || rhs == DType::kF64 || out == DType::kF64;
  const DType computed = wide ? DType::kF64 : DType::kF32;
  Bytes at = 0;
  for (int i = 0; i < 2; ++i) {
    const GemmOperand& side = i == 0 ? gemm.lhs : gemm.rhs;
    Operand& o = operands[i];
    o.slot = context.in[i];
    o.shape = context.in_shape(i);
    if (side.packing) {
      o.packed = true;
      o.view = *side.packing;
      o.packed_at = at;
      at += Rounded(o.shape.bytes());
    }
    if (floats && o.shape.dtype != computed) {
      o.widened = true;
      o.widened_at = at;
      at += Rounded(o.shape.elements() * graph::SizeOf(computed));
    }
  }
  if (context.out_shape().elements() == 0) {
    kernel.run = [](const Frame&) { return absl::OkStatus(); };
    return kernel;
  }
  if (floats) {
    const Bytes out_at = at;
    if (out != computed) at += Rounded(context.out_shape().elements() * graph::SizeOf(computed));
    kernel.run = wide ? FloatKernel<double>(gemm, operands, context, out_at)
                      : FloatKernel<float>(gemm, operands, context, out_at);
  } else {
    kernel.run = IntegerKernel(gemm, operands, context);
    if (!kernel.run) return BuiltKernel{};
  }
  kernel.scratch = at;
  return kernel;
}

}  // namespace alpa::kernels::cpu
