// Elementwise ops with two or three operands, and the choice of a kernel for every elementwise op.
#include <limits>

#include "absl/strings/str_cat.h"
#include "graph/evaluator_internal.h"

namespace alpa::graph::internal {
namespace {

template <typename T, typename R, typename F>
void UnaryLoop(const KernelArgs& a) {
  const T* x = reinterpret_cast<const T*>(a.in[0]);
  R* out = reinterpret_cast<R*>(a.out);
  for (int64_t i = 0; i < a.n; ++i) out[i] = Element<R>::Store(F()(Element<T>::Load(x[i * a.stride[0]])));
}

template <typename T, typename R, typename F>
void BinaryLoop(const KernelArgs& a) {
  const T* x = reinterpret_cast<const T*>(a.in[0]);
  const T* y = reinterpret_cast<const T*>(a.in[1]);
  R* out = reinterpret_cast<R*>(a.out);
  for (int64_t i = 0; i < a.n; ++i) {
    out[i] = Element<R>::Store(F()(Element<T>::Load(x[i * a.stride[0]]), Element<T>::Load(y[i * a.stride[1]])));
  }
}

template <typename T, typename R = T, typename F>
Kernel Unary(F) {
  return &UnaryLoop<T, R, F>;
}
template <typename T, typename R = T, typename F>
Kernel Binary(F) {
  return &BinaryLoop<T, R, F>;
}

template <typename T>
Kernel FloatBinary(Opcode opcode) {
  switch (opcode) {
    case Opcode::kAdd: return Binary<T>([](double x, double y) { return x + y; });
    case Opcode::kSubtract: return Binary<T>([](double x, double y) { return x - y; });
    case Opcode::kMultiply: return Binary<T>([](double x, double y) { return x * y; });
    case Opcode::kDivide: return Binary<T>([](double x, double y) { return x / y; });
    case Opcode::kRemainder: return Binary<T>([](double x, double y) { return std::fmod(x, y); });
    case Opcode::kPower: return Binary<T>([](double x, double y) { return std::pow(x, y); });
    case Opcode::kAtan2: return Binary<T>([](double x, double y) { return std::atan2(x, y); });
    case Opcode::kMaximum:
      return Binary<T>([](double x, double y) { return std::isnan(x) || x >= y ? x : y; });
    case Opcode::kMinimum:
      return Binary<T>([](double x, double y) { return std::isnan(x) || x <= y ? x : y; });
    default: return nullptr;
  }
}

// The unsigned type in which integer arithmetic wraps. It has at least 32 bits, because C++ would promote a narrower
// type to int, whose overflow is undefined.
template <typename T>
using Wrap = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <typename T>
T IntegerPower(T base, T exponent) {
  if constexpr (std::is_signed_v<T>) {
    if (exponent < 0) {
      if (base == -1) return exponent % 2 == 0 ? T{1} : T{-1};
      return base == 1 ? T{1} : T{0};
    }
  }
  Wrap<T> result = 1, square = static_cast<Wrap<T>>(base);
  for (auto bits = static_cast<std::make_unsigned_t<T>>(exponent); bits != 0; bits >>= 1) {
    if (bits & 1) result *= square;
    square *= square;
  }
  return static_cast<T>(result);
}

template <typename T>
Kernel IntegerShift(Opcode opcode) {
  using U = std::make_unsigned_t<T>;
  using S = std::make_signed_t<T>;
  constexpr U kBits = sizeof(T) * 8;
  switch (opcode) {
    case Opcode::kShiftLeft:
      return Binary<T>([](T x, T y) {
        return static_cast<U>(y) >= kBits ? T{0} : static_cast<T>(static_cast<Wrap<T>>(x) << static_cast<U>(y));
      });
    case Opcode::kShiftRightLogical:
      return Binary<T>([](T x, T y) {
        return static_cast<U>(y) >= kBits ? T{0} : static_cast<T>(static_cast<U>(x) >> static_cast<U>(y));
      });
    case Opcode::kShiftRightArithmetic:
      return Binary<T>([](T x, T y) {
        const U by = static_cast<U>(y) >= kBits ? U{kBits - 1} : static_cast<U>(y);
        return static_cast<T>(static_cast<S>(x) >> by);
      });
    default: return nullptr;
  }
}

template <typename T>
Kernel IntegerBinary(Opcode opcode) {
  switch (opcode) {
    case Opcode::kAdd:
      return Binary<T>([](T x, T y) { return static_cast<T>(static_cast<Wrap<T>>(x) + static_cast<Wrap<T>>(y)); });
    case Opcode::kSubtract:
      return Binary<T>([](T x, T y) { return static_cast<T>(static_cast<Wrap<T>>(x) - static_cast<Wrap<T>>(y)); });
    case Opcode::kMultiply:
      return Binary<T>([](T x, T y) { return static_cast<T>(static_cast<Wrap<T>>(x) * static_cast<Wrap<T>>(y)); });
    case Opcode::kDivide:
      return Binary<T>([](T x, T y) {
        if (y == 0) return static_cast<T>(-1);
        if (std::is_signed_v<T> && y == static_cast<T>(-1)) return static_cast<T>(Wrap<T>{0} - static_cast<Wrap<T>>(x));
        return static_cast<T>(x / y);
      });
    case Opcode::kRemainder:
      return Binary<T>([](T x, T y) {
        if (y == 0) return x;
        if (std::is_signed_v<T> && y == static_cast<T>(-1)) return T{0};
        return static_cast<T>(x % y);
      });
    case Opcode::kPower: return Binary<T>([](T x, T y) { return IntegerPower(x, y); });
    case Opcode::kMaximum: return Binary<T>([](T x, T y) { return x >= y ? x : y; });
    case Opcode::kMinimum: return Binary<T>([](T x, T y) { return x <= y ? x : y; });
    case Opcode::kAnd: return Binary<T>([](T x, T y) { return static_cast<T>(x & y); });
    case Opcode::kOr: return Binary<T>([](T x, T y) { return static_cast<T>(x | y); });
    case Opcode::kXor: return Binary<T>([](T x, T y) { return static_cast<T>(x ^ y); });
    default: return IntegerShift<T>(opcode);
  }
}

Kernel PredBinary(Opcode opcode) {
  switch (opcode) {
    case Opcode::kAnd:
    case Opcode::kMultiply:
    case Opcode::kMinimum: return Binary<Pred>([](bool x, bool y) { return x && y; });
    case Opcode::kOr:
    case Opcode::kAdd:
    case Opcode::kMaximum: return Binary<Pred>([](bool x, bool y) { return x || y; });
    case Opcode::kXor: return Binary<Pred>([](bool x, bool y) { return x != y; });
    default: return nullptr;
  }
}

template <typename T, typename Less, typename Equal>
Kernel ComparisonOf(CompareDirection direction, Less, Equal) {
  using W = WideOf<T>;
  switch (direction) {
    case CompareDirection::kEq: return Binary<T, Pred>([](W x, W y) { return Equal()(x, y); });
    case CompareDirection::kNe: return Binary<T, Pred>([](W x, W y) { return !Equal()(x, y); });
    case CompareDirection::kLt: return Binary<T, Pred>([](W x, W y) { return Less()(x, y); });
    case CompareDirection::kLe: return Binary<T, Pred>([](W x, W y) { return Less()(x, y) || Equal()(x, y); });
    case CompareDirection::kGt: return Binary<T, Pred>([](W x, W y) { return Less()(y, x); });
    case CompareDirection::kGe: return Binary<T, Pred>([](W x, W y) { return Less()(y, x) || Equal()(x, y); });
  }
  return nullptr;
}

// Returns the position of x in the total order -NaN < -inf < ... < -0 < +0 < ... < inf < NaN.
int64_t TotalOrder(double x) {
  const int64_t bits = std::bit_cast<int64_t>(x);
  return bits < 0 ? bits ^ std::numeric_limits<int64_t>::max() : bits;
}

template <typename T>
Kernel Comparison(const CompareAttrs& attrs) {
  using W = WideOf<T>;
  if constexpr (kIsFloat<T>) {
    if (attrs.total_order) {
      return ComparisonOf<T>(
          attrs.direction, [](W x, W y) { return TotalOrder(x) < TotalOrder(y); },
          [](W x, W y) { return TotalOrder(x) == TotalOrder(y); });
    }
  }
  return ComparisonOf<T>(attrs.direction, [](W x, W y) { return x < y; }, [](W x, W y) { return x == y; });
}

template <typename T>
void ClampLoop(const KernelArgs& a) {
  const T* low = reinterpret_cast<const T*>(a.in[0]);
  const T* x = reinterpret_cast<const T*>(a.in[1]);
  const T* high = reinterpret_cast<const T*>(a.in[2]);
  T* out = reinterpret_cast<T*>(a.out);
  const Combine<T> max = CombineFor<T>(ReduceKind::kMax), min = CombineFor<T>(ReduceKind::kMin);
  for (int64_t i = 0; i < a.n; ++i) {
    const WideOf<T> raised = max(Element<T>::Load(x[i * a.stride[1]]), Element<T>::Load(low[i * a.stride[0]]));
    out[i] = Element<T>::Store(min(raised, Element<T>::Load(high[i * a.stride[2]])));
  }
}

// `Raw` is an unsigned integer type that has the size of an element. A select only moves elements, so their type does
// not matter.
template <typename Raw>
void SelectLoop(const KernelArgs& a) {
  const Pred* which = reinterpret_cast<const Pred*>(a.in[0]);
  const Raw* yes = reinterpret_cast<const Raw*>(a.in[1]);
  const Raw* no = reinterpret_cast<const Raw*>(a.in[2]);
  Raw* out = reinterpret_cast<Raw*>(a.out);
  for (int64_t i = 0; i < a.n; ++i) {
    out[i] = which[i * a.stride[0]].byte != 0 ? yes[i * a.stride[1]] : no[i * a.stride[2]];
  }
}

template <typename Raw>
void CopyLoop(const KernelArgs& a) {
  const Raw* x = reinterpret_cast<const Raw*>(a.in[0]);
  Raw* out = reinterpret_cast<Raw*>(a.out);
  for (int64_t i = 0; i < a.n; ++i) out[i] = x[i * a.stride[0]];
}

Kernel SizedSelect(DType dtype) {
  switch (SizeOf(dtype)) {
    case 1: return &SelectLoop<uint8_t>;
    case 2: return &SelectLoop<uint16_t>;
    case 4: return &SelectLoop<uint32_t>;
    default: return &SelectLoop<uint64_t>;
  }
}

Kernel SizedCopy(DType dtype) {
  switch (SizeOf(dtype)) {
    case 1: return &CopyLoop<uint8_t>;
    case 2: return &CopyLoop<uint16_t>;
    case 4: return &CopyLoop<uint32_t>;
    default: return &CopyLoop<uint64_t>;
  }
}

}  // namespace

template <typename T>
Combine<T> CombineFor(ReduceKind kind) {
  using W = WideOf<T>;
  if constexpr (kIsFloat<T>) {
    switch (kind) {
      case ReduceKind::kMax: return [](W x, W y) -> W { return std::isnan(x) || x >= y ? x : y; };
      case ReduceKind::kMin: return [](W x, W y) -> W { return std::isnan(x) || x <= y ? x : y; };
      case ReduceKind::kSum: return [](W x, W y) -> W { return x + y; };
      case ReduceKind::kProduct: return [](W x, W y) -> W { return x * y; };
      default: return nullptr;
    }
  } else if constexpr (kIsPred<T>) {
    switch (kind) {
      case ReduceKind::kMax:
      case ReduceKind::kOr:
      case ReduceKind::kSum: return [](W x, W y) -> W { return x || y; };
      case ReduceKind::kMin:
      case ReduceKind::kAnd:
      case ReduceKind::kProduct: return [](W x, W y) -> W { return x && y; };
    }
    return nullptr;
  } else {
    switch (kind) {
      case ReduceKind::kMax: return [](W x, W y) -> W { return x >= y ? x : y; };
      case ReduceKind::kMin: return [](W x, W y) -> W { return x <= y ? x : y; };
      case ReduceKind::kSum:
        return [](W x, W y) -> W { return static_cast<W>(static_cast<Wrap<W>>(x) + static_cast<Wrap<W>>(y)); };
      case ReduceKind::kProduct:
        return [](W x, W y) -> W { return static_cast<W>(static_cast<Wrap<W>>(x) * static_cast<Wrap<W>>(y)); };
      case ReduceKind::kAnd: return [](W x, W y) -> W { return static_cast<W>(x & y); };
      case ReduceKind::kOr: return [](W x, W y) -> W { return static_cast<W>(x | y); };
    }
    return nullptr;
  }
}
#define ALPA_INSTANTIATE(T) template Combine<T> CombineFor<T>(ReduceKind);
ALPA_INSTANTIATE(Pred) ALPA_INSTANTIATE(Half) ALPA_INSTANTIATE(Brain) ALPA_INSTANTIATE(float) ALPA_INSTANTIATE(double)
ALPA_INSTANTIATE(int8_t) ALPA_INSTANTIATE(int16_t) ALPA_INSTANTIATE(int32_t) ALPA_INSTANTIATE(int64_t)
ALPA_INSTANTIATE(uint8_t) ALPA_INSTANTIATE(uint16_t) ALPA_INSTANTIATE(uint32_t) ALPA_INSTANTIATE(uint64_t)
#undef ALPA_INSTANTIATE

Kernel FindKernel(const Op& op, std::span<const DType> operands, DType result) {
  switch (op.opcode) {
    case Opcode::kSelect:
      return operands.size() == 3 && operands[0] == DType::kPred ? SizedSelect(result) : nullptr;
    case Opcode::kClamp:
      return VisitDType(result, []<typename T>() -> Kernel { return &ClampLoop<T>; });
    case Opcode::kCopy: return SizedCopy(result);
    case Opcode::kConvert: return FindConvertKernel(operands[0], result);
    case Opcode::kCompare:
      return VisitDType(operands[0], [&]<typename T>() { return Comparison<T>(op.as<CompareAttrs>()); });
    default: break;
  }
  if (operands.size() == 1) {
    if (op.opcode == Opcode::kBitcastConvert)
      return SizeOf(operands[0]) == SizeOf(result) ? SizedCopy(result) : nullptr;
    return FindUnaryKernel(op, operands[0], result);
  }
  if (operands.size() != 2 || operands[0] != operands[1] || operands[0] != result) return nullptr;
  return VisitDType(result, [&]<typename T>() -> Kernel {
    if constexpr (kIsPred<T>) return PredBinary(op.opcode);
    else if constexpr (kIsFloat<T>) return FloatBinary<T>(op.opcode);
    else return IntegerBinary<T>(op.opcode);
  });
}

Results EvaluateElementwise(const OpCall& call) {
  const Shape& shape = call.result_shape();
  Array out(shape);
  if (call.op.opcode == Opcode::kBitcastConvert) {
    // If the element types differ in width, the op splits or joins elements along the innermost dimension, low bytes
    // first. The bytes of the operand are already in this order.
    if (!call.operands[0].bytes().empty()) {
      std::memcpy(out.data(), call.operands[0].bytes().data(), call.operands[0].bytes().size());
    }
    return One(std::move(out));
  }
  KernelArgs args{.out = out.data(), .n = shape.elements(), .op = &call.op};
  DType dtypes[3] = {};
  const size_t n = call.operands.size();
  if (n > 3) return Internal("%s has %d operands; at most 3 are allowed", std::string(NameOf(call.op.opcode)), n);
  for (size_t i = 0; i < n; ++i) {
    dtypes[i] = call.operands[i].shape().dtype;
    args.in[i] = call.operands[i].bytes().data();
    args.stride[i] = call.operands[i].shape().elements() == 1 ? 0 : 1;
  }
  const Kernel kernel = FindKernel(call.op, std::span(dtypes, n), shape.dtype);
  if (kernel == nullptr) {
    return Unimplemented("the evaluator does not support %s of %s with result type %s",
                         std::string(NameOf(call.op.opcode)), std::string(NameOf(dtypes[0])),
                         std::string(NameOf(shape.dtype)));
  }
  kernel(args);
  return One(std::move(out));
}

}  // namespace alpa::graph::internal
