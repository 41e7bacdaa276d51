#include "comm/reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/status.h"
#include "graph/literal.h"

namespace alpa::comm {

using graph::DType;
using graph::ReduceKind;

namespace {

// A NaN on either side gives NaN, as XLA's maximum and minimum do.
template <typename T>
T Larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return a + b;
  }
  return a < b ? b : a;
}
template <typename T>
T Smaller(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return a + b;
  }
  return b < a ? b : a;
}

template <typename T, typename Op>
void Loop(std::span<std::byte> into, std::span<const std::byte> from, Op op) {
  T* a = reinterpret_cast<T*>(into.data());
  const T* b = reinterpret_cast<const T*>(from.data());
  const size_t n = into.size() / sizeof(T);
  for (size_t i = 0; i < n; ++i) a[i] = op(a[i], b[i]);
}

template <typename T>
void Reduce(std::span<std::byte> into, std::span<const std::byte> from, ReduceKind kind) {
  // Integers wrap, as XLA's do.
  using Wide = std::conditional_t<std::is_integral_v<T>, uint64_t, T>;
  switch (kind) {
    case ReduceKind::kSum: return Loop<T>(into, from, [](T a, T b) { return T(Wide(a) + Wide(b)); });
    case ReduceKind::kProduct: return Loop<T>(into, from, [](T a, T b) { return T(Wide(a) * Wide(b)); });
    case ReduceKind::kMax: return Loop<T>(into, from, [](T a, T b) { return Larger(a, b); });
    case ReduceKind::kMin: return Loop<T>(into, from, [](T a, T b) { return Smaller(a, b); });
    case ReduceKind::kAnd:
      if constexpr (std::is_integral_v<T>) return Loop<T>(into, from, [](T a, T b) { return T(a & b); });
      break;
    case ReduceKind::kOr:
      if constexpr (std::is_integral_v<T>) return Loop<T>(into, from, [](T a, T b) { return T(a | b); });
      break;
  }
  ALPA_CHECK(!"bitwise reduction of floats");
}

// Predicates add and multiply as or and and.
ReduceKind OfPredicates(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::kSum: case ReduceKind::kMax: return ReduceKind::kOr;
    case ReduceKind::kProduct: case ReduceKind::kMin: return ReduceKind::kAnd;
    default: return kind;
  }
}

}  // namespace

void ReduceInto(std::span<std::byte> into, std::span<const std::byte> from, DType dtype, ReduceKind kind) {
  switch (dtype) {
    case DType::kPred: return Reduce<uint8_t>(into, from, OfPredicates(kind));
    case DType::kS8: return Reduce<int8_t>(into, from, kind);
    case DType::kS16: return Reduce<int16_t>(into, from, kind);
    case DType::kS32: return Reduce<int32_t>(into, from, kind);
    case DType::kS64: return Reduce<int64_t>(into, from, kind);
    case DType::kU8: return Reduce<uint8_t>(into, from, kind);
    case DType::kU16: return Reduce<uint16_t>(into, from, kind);
    case DType::kU32: return Reduce<uint32_t>(into, from, kind);
    case DType::kU64: return Reduce<uint64_t>(into, from, kind);
    case DType::kF32: return Reduce<float>(into, from, kind);
    case DType::kF64: return Reduce<double>(into, from, kind);
    case DType::kF16: case DType::kBF16: break;
  }
  ALPA_CHECK(!"16-bit floats are reduced as f32");
}

std::vector<std::byte> Widen(std::span<const std::byte> data, DType dtype) {
  std::vector<std::byte> wide(data.size() * 2);
  const uint16_t* from = reinterpret_cast<const uint16_t*>(data.data());
  float* to = reinterpret_cast<float*>(wide.data());
  for (size_t i = 0; i < data.size() / 2; ++i) {
    to[i] = dtype == DType::kBF16 ? graph::Bf16ToFloat(from[i]) : graph::F16ToFloat(from[i]);
  }
  return wide;
}

void Narrow(std::span<const std::byte> wide, std::span<std::byte> out, DType dtype) {
  const float* from = reinterpret_cast<const float*>(wide.data());
  uint16_t* to = reinterpret_cast<uint16_t*>(out.data());
  for (size_t i = 0; i < out.size() / 2; ++i) {
    to[i] = dtype == DType::kBF16 ? graph::FloatToBf16(from[i]) : graph::FloatToF16(from[i]);
  }
}

}  // namespace alpa::comm
