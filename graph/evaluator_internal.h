// Declarations that the evaluator's source files share. No other code may include this header.
//
// Each element type T has a "wide" type: double for floats, bool for pred, T itself for integers. Kernels load elements
// into the wide type, compute in it, and round once, when they store the result.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/status.h"
#include "graph/evaluator.h"
#include "graph/graph.h"

namespace alpa::graph::internal {

using Index = std::vector<int64_t>;

// ---- Element types ----

struct Pred { uint8_t byte; };
struct Half { uint16_t bits; };
struct Brain { uint16_t bits; };

// Rounds `value` to float toward zero, and sets the last bit if the result is not exact ("round to odd").
// Rounding the result to a 16-bit type gives the same number as rounding `value` directly to that type.
inline float RoundToOdd(double value) {
  float near = static_cast<float>(value);
  if (static_cast<double>(near) == value || std::isnan(value)) return near;
  uint32_t bits = std::bit_cast<uint32_t>(near);
  if (std::fabs(static_cast<double>(near)) > std::fabs(value)) --bits;
  return std::bit_cast<float>(bits | 1u);
}

template <typename T>
struct Element {
  using Wide = T;
  static Wide Load(T x) { return x; }
  static T Store(Wide x) { return x; }
};
template <>
struct Element<float> {
  using Wide = double;
  static Wide Load(float x) { return x; }
  static float Store(Wide x) { return static_cast<float>(x); }
};
template <>
struct Element<Half> {
  using Wide = double;
  static Wide Load(Half x) { return F16ToFloat(x.bits); }
  static Half Store(Wide x) { return {FloatToF16(RoundToOdd(x))}; }
};
template <>
struct Element<Brain> {
  using Wide = double;
  static Wide Load(Brain x) { return Bf16ToFloat(x.bits); }
  static Brain Store(Wide x) { return {FloatToBf16(RoundToOdd(x))}; }
};
template <>
struct Element<Pred> {
  using Wide = bool;
  static Wide Load(Pred x) { return x.byte != 0; }
  static Pred Store(Wide x) { return {static_cast<uint8_t>(x)}; }
};
template <typename T>
using WideOf = typename Element<T>::Wide;

template <typename T>
inline constexpr bool kIsPred = std::is_same_v<T, Pred>;
template <typename T>
inline constexpr bool kIsFloat = std::is_same_v<WideOf<T>, double>;
template <typename T>
inline constexpr bool kIsInt = std::is_integral_v<T>;

// Calls f.template operator()<T>() with the C++ type T of `dtype`.
template <typename F>
auto VisitDType(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kPred: return f.template operator()<Pred>();
    case DType::kS8: return f.template operator()<int8_t>();
    case DType::kS16: return f.template operator()<int16_t>();
    case DType::kS32: return f.template operator()<int32_t>();
    case DType::kS64: return f.template operator()<int64_t>();
    case DType::kU8: return f.template operator()<uint8_t>();
    case DType::kU16: return f.template operator()<uint16_t>();
    case DType::kU32: return f.template operator()<uint32_t>();
    case DType::kU64: return f.template operator()<uint64_t>();
    case DType::kF16: return f.template operator()<Half>();
    case DType::kF32: return f.template operator()<float>();
    case DType::kF64: return f.template operator()<double>();
    case DType::kBF16: return f.template operator()<Brain>();
  }
  ALPA_CHECK(false && "unknown dtype");
  return f.template operator()<float>();
}

// Returns element i of an integer array. Unsigned values above the largest int64_t become the largest int64_t.
int64_t IntegerAt(const Literal& literal, int64_t i);

// ---- Result arrays and strided copies ----

// An array that an op fills and then seals into a Literal.
class Array {
 public:
  explicit Array(Shape shape) : shape_(std::move(shape)), bytes_(static_cast<size_t>(shape_.bytes())) {}
  const Shape& shape() const { return shape_; }
  std::byte* data() { return bytes_.data(); }
  template <typename T>
  T* as() { return reinterpret_cast<T*>(bytes_.data()); }
  Literal Seal() && { return Literal(std::move(shape_), std::move(bytes_)); }

 private:
  Shape shape_;
  std::vector<std::byte> bytes_;
};

template <typename T>
const T* Data(const Literal& literal) { return reinterpret_cast<const T*>(literal.bytes().data()); }

// Advances a row-major index to its next position. After the last position, resets the index to zeros and returns
// false. An empty index has one position.
inline bool Next(Index& index, std::span<const int64_t> dims) {
  for (size_t d = dims.size(); d-- > 0;) {
    if (++index[d] < dims[d]) return true;
    index[d] = 0;
  }
  return false;
}

int64_t Product(std::span<const int64_t> dims);

// One side of a strided copy: the offset of element (0, ..., 0), and the stride of each dimension, in elements.
struct Strided {
  int64_t offset = 0;
  Index strides;
};
// Copies from[from_view(i)] to to[to_view(i)] for every index i in `dims`. An element has `element` bytes.
void StridedCopy(const Index& dims, const std::byte* from, const Strided& from_view, std::byte* to,
                 const Strided& to_view, int64_t element);

// ---- Elementwise kernels ----

struct KernelArgs {
  const std::byte* in[3] = {};
  int64_t stride[3] = {1, 1, 1};  // one entry per operand: 1, or 0 if the operand has one element
  std::byte* out = nullptr;
  int64_t n = 0;
  const Op* op = nullptr;
};
using Kernel = void (*)(const KernelArgs&);

// Returns the loop for an elementwise op on these element types, or null if no such loop exists.
Kernel FindKernel(const Op& op, std::span<const DType> operands, DType result);
Kernel FindUnaryKernel(const Op& op, DType operand, DType result);  // not for Convert, Copy or BitcastConvert
Kernel FindConvertKernel(DType from, DType to);

// A function that performs one step of a reduction: it combines two values in the wide type. CombineFor returns null if
// T has no reduction of this kind.
template <typename T>
using Combine = WideOf<T> (*)(WideOf<T>, WideOf<T>);
template <typename T>
Combine<T> CombineFor(ReduceKind kind);

// ---- Evaluation of graphs and scalar regions ----

struct Context {
  EvaluateOptions options;
  int64_t live_bytes = 0;  // bytes of the live values in all regions that are being evaluated
  int depth = 0;           // nesting depth of the current region
};

absl::StatusOr<std::vector<Literal>> EvaluateIn(Context& context, const Graph& graph,
                                                std::span<const Literal> arguments);
absl::StatusOr<std::vector<Literal>> EvaluateOpIn(Context& context, const Graph& graph, const Op& op,
                                                  std::span<const Literal> operands);

// Returns kResourceExhausted if `bytes` additional bytes would exceed the evaluator's memory limit.
absl::Status CheckBudget(const Context& context, const Graph& graph, const Op& op, int64_t bytes);

// A region over scalars, prepared for many calls.
class ScalarRegion {
 public:
  ScalarRegion(const Graph& region, Context& context);
  // Reads one element from each address in `arguments`, and writes one element to each address in `results`. The same
  // address may occur in both lists.
  absl::Status Call(std::span<const std::byte* const> arguments, std::span<std::byte* const> results);

 private:
  struct Step {
    Kernel kernel;
    KernelArgs args;
  };
  struct Slot {
    std::byte* address;
    size_t size;
  };
  void Compile();

  const Graph& region_;
  Context& context_;
  bool compiled_ = false;
  std::vector<uint64_t> memory_;
  std::vector<Slot> parameters_, results_;
  std::vector<Step> steps_;
};

// ---- Evaluation of one op, by op family: each function returns the results of the op ----

using Results = absl::StatusOr<std::vector<Literal>>;
struct OpCall {
  Context& context;
  const Graph& graph;
  const Op& op;
  std::span<const Literal> operands;
  const Shape& result_shape(int i = 0) const { return graph.shape(op.results[i]); }
};

Results EvaluateElementwise(const OpCall& call);
Results EvaluateMovement(const OpCall& call);
Results EvaluateGather(const OpCall& call);
Results EvaluateScatter(const OpCall& call);
Results EvaluateDot(const OpCall& call);
Results EvaluateConvolution(const OpCall& call);
Results EvaluateReduce(const OpCall& call);
Results EvaluateReduceWindow(const OpCall& call);
Results EvaluateSelectAndScatter(const OpCall& call);
Results EvaluateSort(const OpCall& call);

inline Results One(Array array) {
  std::vector<Literal> results;
  results.push_back(std::move(array).Seal());
  return results;
}

}  // namespace alpa::graph::internal
