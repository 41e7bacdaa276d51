#include "comm/reduce.h"

#include <bit>
#include <cstdint>
#include <type_traits>

#include "base/status.h"
#include "graph/shape.h"

// The loops here have no branches, so that the compiler can vectorize them for any instruction set.

namespace alpa::comm {

using graph::DType;
using graph::ReduceKind;

namespace {

struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

inline float ToFloat(Bf16 x) { return std::bit_cast<float>(uint32_t{x.bits} << 16); }
inline void FromFloat(float f, Bf16& out) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const uint32_t nan = (bits >> 16) | 0x40;
  out.bits = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

// Changes the bias of the exponent through a multiplication by a power of two, which converts denormals correctly.
inline float ToFloat(F16 x) {
  const uint32_t magnitude = x.bits & 0x7fffu, sign = uint32_t{x.bits & 0x8000u} << 16;
  const float scaled = std::bit_cast<float>(magnitude << 13) * std::bit_cast<float>(uint32_t{254 - 15} << 23);
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;   // infinity and NaN keep the largest exponent
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | special | sign);
}
inline void FromFloat(float f, F16& out) {
  const uint32_t bits = std::bit_cast<uint32_t>(f), sign = bits & 0x80000000u, magnitude = bits ^ sign;
  // If magnitude < 2^-14, adding 1/2 leaves the rounded bits of the f16 denormal at the bottom of the mantissa.
  const float half = std::bit_cast<float>(uint32_t{126} << 23);
  const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + half) - (uint32_t{126} << 23);
  const uint32_t normal = (magnitude - (uint32_t{112} << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  const uint32_t huge = magnitude > 0x7f800000u ? 0x7e00u | ((magnitude >> 13) & 0x1ffu) : 0x7c00u;
  const uint32_t finite = magnitude < (uint32_t{113} << 23) ? small : normal;
  // 0x477ff000 is 65520, the smallest float that rounds to infinity.
  out.bits = static_cast<uint16_t>((magnitude >= 0x477ff000u ? huge : finite) | (sign >> 16));
}

template <typename T>
struct Larger {
  T operator()(T a, T b) const {
    const T m = a < b ? b : a;
    if constexpr (std::is_floating_point_v<T>) return a != a ? a : b != b ? b : m;
    return m;
  }
};
template <typename T>
struct Smaller {
  T operator()(T a, T b) const {
    const T m = b < a ? b : a;
    if constexpr (std::is_floating_point_v<T>) return a != a ? a : b != b ? b : m;
    return m;
  }
};
// Integers must wrap. They are computed as unsigned, because signed overflow is undefined.
template <typename T>
using Modular = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;
template <typename T>
struct Plus {
  T operator()(T a, T b) const { return static_cast<T>(static_cast<Modular<T>>(a) + static_cast<Modular<T>>(b)); }
};
template <typename T>
struct Times {
  T operator()(T a, T b) const { return static_cast<T>(static_cast<Modular<T>>(a) * static_cast<Modular<T>>(b)); }
};
template <typename T>
struct BitAnd {
  T operator()(T a, T b) const { return static_cast<T>(a & b); }
};
template <typename T>
struct BitOr {
  T operator()(T a, T b) const { return static_cast<T>(a | b); }
};

template <typename T, typename Op>
void Loop(std::byte* out_bytes, const std::byte* a_bytes, const std::byte* b_bytes, size_t bytes, Op op) {
  T* out = reinterpret_cast<T*>(out_bytes);
  const T* __restrict__ b = reinterpret_cast<const T*>(b_bytes);
  const size_t n = bytes / sizeof(T);
  if (out_bytes == a_bytes) {
    for (size_t i = 0; i < n; ++i) out[i] = op(out[i], b[i]);
    return;
  }
  T* __restrict__ separate = out;
  const T* __restrict__ a = reinterpret_cast<const T*>(a_bytes);
  for (size_t i = 0; i < n; ++i) separate[i] = op(a[i], b[i]);
}

template <typename T, typename Op>
void HalfLoop(std::byte* out_bytes, const std::byte* a_bytes, const std::byte* b_bytes, size_t bytes, Op op) {
  Loop<T>(out_bytes, a_bytes, b_bytes, bytes, [op](T a, T b) {
    T result;
    FromFloat(op(ToFloat(a), ToFloat(b)), result);
    return result;
  });
}

template <typename T>
void ReduceOf(std::byte* out, const std::byte* a, const std::byte* b, size_t bytes, ReduceKind kind) {
  switch (kind) {
    case ReduceKind::kSum: return Loop<T>(out, a, b, bytes, Plus<T>());
    case ReduceKind::kProduct: return Loop<T>(out, a, b, bytes, Times<T>());
    case ReduceKind::kMax: return Loop<T>(out, a, b, bytes, Larger<T>());
    case ReduceKind::kMin: return Loop<T>(out, a, b, bytes, Smaller<T>());
    case ReduceKind::kAnd:
      if constexpr (std::is_integral_v<T>) return Loop<T>(out, a, b, bytes, BitAnd<T>());
      break;
    case ReduceKind::kOr:
      if constexpr (std::is_integral_v<T>) return Loop<T>(out, a, b, bytes, BitOr<T>());
      break;
  }
  ALPA_CHECK(!"CheckReduction refuses this reduction");
}

template <typename T>
void ReduceHalf(std::byte* out, const std::byte* a, const std::byte* b, size_t bytes, ReduceKind kind) {
  switch (kind) {
    case ReduceKind::kSum: return HalfLoop<T>(out, a, b, bytes, Plus<float>());
    case ReduceKind::kProduct: return HalfLoop<T>(out, a, b, bytes, Times<float>());
    case ReduceKind::kMax: return HalfLoop<T>(out, a, b, bytes, Larger<float>());
    case ReduceKind::kMin: return HalfLoop<T>(out, a, b, bytes, Smaller<float>());
    case ReduceKind::kAnd: case ReduceKind::kOr: break;
  }
  ALPA_CHECK(!"CheckReduction refuses this reduction");
}

ReduceKind OfPredicates(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::kSum: case ReduceKind::kMax: return ReduceKind::kOr;
    case ReduceKind::kProduct: case ReduceKind::kMin: return ReduceKind::kAnd;
    default: return kind;
  }
}

template <typename T>
void WidenLoop(std::span<const std::byte> narrow, std::span<std::byte> wide) {
  const T* __restrict__ from = reinterpret_cast<const T*>(narrow.data());
  float* __restrict__ to = reinterpret_cast<float*>(wide.data());
  const size_t n = narrow.size() / sizeof(T);
  for (size_t i = 0; i < n; ++i) to[i] = ToFloat(from[i]);
}
template <typename T>
void NarrowLoop(std::span<const std::byte> wide, std::span<std::byte> narrow) {
  const float* __restrict__ from = reinterpret_cast<const float*>(wide.data());
  T* __restrict__ to = reinterpret_cast<T*>(narrow.data());
  const size_t n = narrow.size() / sizeof(T);
  for (size_t i = 0; i < n; ++i) FromFloat(from[i], to[i]);
}

}  // namespace

absl::Status CheckReduction(size_t bytes, DType dtype, ReduceKind kind) {
  const size_t element = static_cast<size_t>(graph::SizeOf(dtype));
  if (bytes % element != 0) {
    return InvalidArgument("cannot reduce %d bytes: not a whole number of %s elements", bytes, graph::NameOf(dtype));
  }
  if ((kind == ReduceKind::kAnd || kind == ReduceKind::kOr) && graph::IsFloat(dtype)) {
    return InvalidArgument("cannot reduce by %s: the operation is not defined for %s", graph::NameOf(kind),
                           graph::NameOf(dtype));
  }
  return absl::OkStatus();
}

void Reduce(std::span<std::byte> out, std::span<const std::byte> a, std::span<const std::byte> b, DType dtype,
            ReduceKind kind) {
  ALPA_CHECK(out.size() == a.size() && a.size() == b.size());
  std::byte* o = out.data();
  const std::byte *x = a.data(), *y = b.data();
  const size_t bytes = out.size();
  switch (dtype) {
    case DType::kPred: return ReduceOf<uint8_t>(o, x, y, bytes, OfPredicates(kind));
    case DType::kS8: return ReduceOf<int8_t>(o, x, y, bytes, kind);
    case DType::kS16: return ReduceOf<int16_t>(o, x, y, bytes, kind);
    case DType::kS32: return ReduceOf<int32_t>(o, x, y, bytes, kind);
    case DType::kS64: return ReduceOf<int64_t>(o, x, y, bytes, kind);
    case DType::kU8: return ReduceOf<uint8_t>(o, x, y, bytes, kind);
    case DType::kU16: return ReduceOf<uint16_t>(o, x, y, bytes, kind);
    case DType::kU32: return ReduceOf<uint32_t>(o, x, y, bytes, kind);
    case DType::kU64: return ReduceOf<uint64_t>(o, x, y, bytes, kind);
    case DType::kF32: return ReduceOf<float>(o, x, y, bytes, kind);
    case DType::kF64: return ReduceOf<double>(o, x, y, bytes, kind);
    case DType::kF16: return ReduceHalf<F16>(o, x, y, bytes, kind);
    case DType::kBF16: return ReduceHalf<Bf16>(o, x, y, bytes, kind);
  }
}

void Widen(std::span<const std::byte> narrow, std::span<std::byte> wide, DType dtype) {
  ALPA_CHECK(IsHalf(dtype) && wide.size() == 2 * narrow.size());
  dtype == DType::kBF16 ? WidenLoop<Bf16>(narrow, wide) : WidenLoop<F16>(narrow, wide);
}

void Narrow(std::span<const std::byte> wide, std::span<std::byte> narrow, DType dtype) {
  ALPA_CHECK(IsHalf(dtype) && wide.size() == 2 * narrow.size());
  dtype == DType::kBF16 ? NarrowLoop<Bf16>(wide, narrow) : NarrowLoop<F16>(wide, narrow);
}

}  // namespace alpa::comm
