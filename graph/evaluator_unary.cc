// Elementwise ops with one operand, and conversions between element types.
#include <limits>

#include "graph/evaluator_internal.h"

namespace alpa::graph::internal {
namespace {

template <typename T, typename R, typename F>
void Loop(const KernelArgs& a) {
  const T* x = reinterpret_cast<const T*>(a.in[0]);
  R* out = reinterpret_cast<R*>(a.out);
  for (int64_t i = 0; i < a.n; ++i) out[i] = Element<R>::Store(F()(Element<T>::Load(x[i * a.stride[0]])));
}
template <typename T, typename R = T, typename F>
Kernel Unary(F) {
  return &Loop<T, R, F>;
}

template <typename T>
Kernel FloatUnary(Opcode opcode) {
  switch (opcode) {
    case Opcode::kAbs: return Unary<T>([](double x) { return std::fabs(x); });
    case Opcode::kCbrt: return Unary<T>([](double x) { return std::cbrt(x); });
    case Opcode::kCeil: return Unary<T>([](double x) { return std::ceil(x); });
    case Opcode::kCosine: return Unary<T>([](double x) { return std::cos(x); });
    case Opcode::kErf: return Unary<T>([](double x) { return std::erf(x); });
    case Opcode::kExp: return Unary<T>([](double x) { return std::exp(x); });
    case Opcode::kExpm1: return Unary<T>([](double x) { return std::expm1(x); });
    case Opcode::kFloor: return Unary<T>([](double x) { return std::floor(x); });
    case Opcode::kIsFinite: return Unary<T, Pred>([](double x) { return std::isfinite(x); });
    case Opcode::kLog: return Unary<T>([](double x) { return std::log(x); });
    case Opcode::kLog1p: return Unary<T>([](double x) { return std::log1p(x); });
    case Opcode::kLogistic: return Unary<T>([](double x) { return 1 / (1 + std::exp(-x)); });
    case Opcode::kNegate: return Unary<T>([](double x) { return -x; });
    case Opcode::kRoundNearestAfz: return Unary<T>([](double x) { return std::round(x); });
    case Opcode::kRoundNearestEven:
      return Unary<T>([](double x) {
        // Does not use nearbyint, which depends on the thread's rounding mode.
        const double rounded = std::round(x);
        const bool tie = std::fabs(x - std::trunc(x)) == 0.5;
        return tie ? std::copysign(2 * std::round(x / 2), x) : rounded;
      });
    case Opcode::kRsqrt: return Unary<T>([](double x) { return 1 / std::sqrt(x); });
    case Opcode::kSign: return Unary<T>([](double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : x; });
    case Opcode::kSine: return Unary<T>([](double x) { return std::sin(x); });
    case Opcode::kSqrt: return Unary<T>([](double x) { return std::sqrt(x); });
    case Opcode::kTan: return Unary<T>([](double x) { return std::tan(x); });
    case Opcode::kTanh: return Unary<T>([](double x) { return std::tanh(x); });
    default: return nullptr;
  }
}

template <typename T>
Kernel IntegerUnary(Opcode opcode) {
  using U = std::make_unsigned_t<T>;
  switch (opcode) {
    case Opcode::kAbs:
      return Unary<T>([](T x) { return x < 0 ? static_cast<T>(uint64_t{0} - static_cast<uint64_t>(x)) : x; });
    case Opcode::kCountLeadingZeros:
      return Unary<T>([](T x) { return static_cast<T>(std::countl_zero(static_cast<U>(x))); });
    case Opcode::kPopulationCount:
      return Unary<T>([](T x) { return static_cast<T>(std::popcount(static_cast<U>(x))); });
    case Opcode::kNegate: return Unary<T>([](T x) { return static_cast<T>(uint64_t{0} - static_cast<uint64_t>(x)); });
    case Opcode::kNot: return Unary<T>([](T x) { return static_cast<T>(~x); });
    case Opcode::kSign: return Unary<T>([](T x) { return static_cast<T>(x > 0 ? 1 : x < 0 ? -1 : 0); });
    default: return nullptr;
  }
}

// Bit layout of a float type.
template <typename T>
struct FloatBits;
template <>
struct FloatBits<Half> { using Bits = uint16_t; static constexpr int kMantissa = 10, kExponent = 5; };
template <>
struct FloatBits<Brain> { using Bits = uint16_t; static constexpr int kMantissa = 7, kExponent = 8; };
template <>
struct FloatBits<float> { using Bits = uint32_t; static constexpr int kMantissa = 23, kExponent = 8; };
template <>
struct FloatBits<double> { using Bits = uint64_t; static constexpr int kMantissa = 52, kExponent = 11; };

// Rounds the mantissa to nearest even. Then rounds to infinity if the value is too large for the narrower exponent.
// Rounds to zero if the value is too small, because the narrow type has no denormals. NaN stays unchanged.
template <typename T>
T ReducePrecision(T value, int exponent_bits, int mantissa_bits) {
  using Layout = FloatBits<T>;
  using Bits = typename Layout::Bits;
  constexpr Bits kSign = Bits{1} << (Layout::kMantissa + Layout::kExponent);
  constexpr Bits kInfinity = static_cast<Bits>(((Bits{1} << Layout::kExponent) - 1) << Layout::kMantissa);
  Bits x = std::bit_cast<Bits>(value);
  if ((x & ~kSign) > kInfinity) return value;
  if (mantissa_bits < Layout::kMantissa) {
    const int dropped = Layout::kMantissa - mantissa_bits;
    const Bits last = static_cast<Bits>(Bits{1} << dropped);
    const Bits bias = static_cast<Bits>((last >> 1) - 1 + ((x & last) >> dropped));
    x = static_cast<Bits>(static_cast<Bits>(x + bias) & static_cast<Bits>(~(last - 1)));
  }
  if (exponent_bits < Layout::kExponent) {
    const Bits bias = static_cast<Bits>((Bits{1} << (Layout::kExponent - 1)) - 1);
    const Bits reduced_bias = static_cast<Bits>((Bits{1} << (exponent_bits - 1)) - 1);
    const Bits exponent = static_cast<Bits>((x & kInfinity) >> Layout::kMantissa);
    if (exponent > static_cast<Bits>(bias + reduced_bias)) x = static_cast<Bits>((x & kSign) | kInfinity);
    else if (exponent <= static_cast<Bits>(bias - reduced_bias)) x = static_cast<Bits>(x & kSign);
  }
  return std::bit_cast<T>(x);
}

template <typename T>
void ReducePrecisionLoop(const KernelArgs& a) {
  const auto& attrs = a.op->as<ReducePrecisionAttrs>();
  const T* x = reinterpret_cast<const T*>(a.in[0]);
  T* out = reinterpret_cast<T*>(a.out);
  for (int64_t i = 0; i < a.n; ++i) {
    out[i] = ReducePrecision(x[i * a.stride[0]], attrs.exponent_bits, attrs.mantissa_bits);
  }
}

template <typename From, typename To>
To ConvertElement(From from) {
  const auto x = Element<From>::Load(from);
  if constexpr (kIsPred<To>) {
    return Element<Pred>::Store(x != 0);
  } else if constexpr (kIsFloat<From> && kIsInt<To>) {
    if (std::isnan(x)) return 0;
    // If a double cannot represent the largest value of To, the cast below rounds up to this value plus one.
    if (x >= static_cast<double>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    if (x <= static_cast<double>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    return static_cast<To>(x);
  } else if constexpr (std::is_same_v<To, float> && kIsInt<From>) {
    return static_cast<float>(x);  // directly, because a conversion through double would round twice
  } else {
    return Element<To>::Store(static_cast<WideOf<To>>(x));
  }
}

template <typename From, typename To>
void ConvertLoop(const KernelArgs& a) {
  const From* x = reinterpret_cast<const From*>(a.in[0]);
  To* out = reinterpret_cast<To*>(a.out);
  for (int64_t i = 0; i < a.n; ++i) out[i] = ConvertElement<From, To>(x[i * a.stride[0]]);
}

}  // namespace

Kernel FindConvertKernel(DType from, DType to) {
  return VisitDType(from, [&]<typename From>() -> Kernel {
    return VisitDType(to, []<typename To>() -> Kernel { return &ConvertLoop<From, To>; });
  });
}

Kernel FindUnaryKernel(const Op& op, DType operand, DType result) {
  if (result != (op.opcode == Opcode::kIsFinite ? DType::kPred : operand)) return nullptr;
  return VisitDType(operand, [&]<typename T>() -> Kernel {
    if constexpr (kIsPred<T>) {
      return op.opcode == Opcode::kNot ? Unary<Pred>([](bool x) { return !x; }) : nullptr;
    } else if constexpr (kIsFloat<T>) {
      if (op.opcode == Opcode::kReducePrecision) return &ReducePrecisionLoop<T>;
      return FloatUnary<T>(op.opcode);
    } else {
      return IntegerUnary<T>(op.opcode);
    }
  });
}

}  // namespace alpa::graph::internal
