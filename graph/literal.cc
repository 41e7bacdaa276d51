#include "graph/literal.h"

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "base/status.h"

namespace alpa::graph {

Literal::Literal(Shape shape, std::vector<std::byte> bytes)
    : shape_(std::move(shape)), bytes_(std::make_shared<const std::vector<std::byte>>(std::move(bytes))) {
  ALPA_CHECK(static_cast<Bytes>(bytes_->size()) == shape_.bytes());
}

Literal Literal::Zeros(Shape shape) {
  const size_t size = static_cast<size_t>(shape.bytes());
  return Literal(std::move(shape), std::vector<std::byte>(size));
}

double Literal::ValueAt(int64_t i) const {
  ALPA_CHECK(i >= 0 && i < shape_.elements());
  switch (shape_.dtype) {
    case DType::kPred:
      return as<uint8_t>()[i] != 0;
    case DType::kS8:
      return as<int8_t>()[i];
    case DType::kS16:
      return as<int16_t>()[i];
    case DType::kS32:
      return as<int32_t>()[i];
    case DType::kS64:
      return static_cast<double>(as<int64_t>()[i]);
    case DType::kU8:
      return as<uint8_t>()[i];
    case DType::kU16:
      return as<uint16_t>()[i];
    case DType::kU32:
      return as<uint32_t>()[i];
    case DType::kU64:
      return static_cast<double>(as<uint64_t>()[i]);
    case DType::kF16:
      return F16ToFloat(as<uint16_t>()[i]);
    case DType::kF32:
      return as<float>()[i];
    case DType::kF64:
      return as<double>()[i];
    case DType::kBF16:
      return Bf16ToFloat(as<uint16_t>()[i]);
  }
  ALPA_CHECK(false && "not an element type");
}

bool Literal::AllEqual(double value) const {
  const int64_t n = shape_.elements();
  for (int64_t i = 0; i < n; ++i) {
    if (!(ValueAt(i) == value)) return false;
  }
  return true;
}

bool Literal::operator==(const Literal& other) const {
  return shape_ == other.shape_ && (bytes_ == other.bytes_ || *bytes_ == *other.bytes_);
}

float Bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t FloatToBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<uint16_t>((bits >> 16) | 0x0040u);  // stays a NaN
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<uint16_t>(bits >> 16);
}

float F16ToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal or zero; the product is exact
  return sign ? -magnitude : magnitude;
}

uint16_t FloatToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x1ffu));
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {                        // below 2^-14: subnormal, in units of 2^-24
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    const uint32_t floor = static_cast<uint32_t>(scaled);
    const float rest = scaled - static_cast<float>(floor);
    const uint32_t up = rest > 0.5f || (rest == 0.5f && (floor & 1u)) ? 1u : 0u;
    return static_cast<uint16_t>(sign | (floor + up));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

namespace {

template <typename T>
Literal Saturated(DType dtype, double value) {
  using Limits = std::numeric_limits<T>;
  if (std::isnan(value)) return Literal::Scalar<T>(dtype, 0);
  if (value <= static_cast<double>(Limits::min())) return Literal::Scalar(dtype, Limits::min());
  // As a double, the largest 64-bit integer is rounded up to a power of two. A double equal to this power is out of
  // range.
  if (value >= static_cast<double>(Limits::max())) return Literal::Scalar(dtype, Limits::max());
  return Literal::Scalar(dtype, static_cast<T>(value));
}

}  // namespace

Literal ScalarOf(DType dtype, double value) {
  switch (dtype) {
    case DType::kPred: return Literal::Scalar<uint8_t>(dtype, value != 0);
    case DType::kS8: return Saturated<int8_t>(dtype, value);
    case DType::kS16: return Saturated<int16_t>(dtype, value);
    case DType::kS32: return Saturated<int32_t>(dtype, value);
    case DType::kS64: return Saturated<int64_t>(dtype, value);
    case DType::kU8: return Saturated<uint8_t>(dtype, value);
    case DType::kU16: return Saturated<uint16_t>(dtype, value);
    case DType::kU32: return Saturated<uint32_t>(dtype, value);
    case DType::kU64: return Saturated<uint64_t>(dtype, value);
    case DType::kF16: return Literal::Scalar(dtype, FloatToF16(static_cast<float>(value)));
    case DType::kBF16: return Literal::Scalar(dtype, FloatToBf16(static_cast<float>(value)));
    case DType::kF32: return Literal::Scalar(dtype, static_cast<float>(value));
    case DType::kF64: return Literal::Scalar(dtype, value);
  }
  return {};
}

}  // namespace alpa::graph
