#include <algorithm>

#include "base/status.h"
#include "graph/infer_rules.h"
#include "graph/verify.h"

namespace alpa::graph {
namespace internal {

std::string Join(const std::vector<int64_t>& numbers) {
  std::string text = "{";
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0) text += ",";
    text += std::to_string(numbers[i]);
  }
  return text + "}";
}

absl::Status CheckDims(const std::vector<int64_t>& dims, int64_t rank, const char* what) {
  std::vector<bool> seen(static_cast<size_t>(rank));
  for (int64_t dim : dims) {
    if (dim < 0 || dim >= rank) return InvalidArgument("%s %s: outside rank %d", what, Join(dims), rank);
    if (seen[dim]) return InvalidArgument("%s %s: dimension %d occurs twice", what, Join(dims), dim);
    seen[dim] = true;
  }
  return absl::OkStatus();
}

namespace {

std::string ToText(const Shapes& shapes) {
  std::string text = "(";
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (i > 0) text += ", ";
    if (i == 8 && shapes.size() > 10) return text + absl::StrCat("... ", shapes.size(), " in all)");
    text += shapes[i].ToString();
  }
  return text + ")";
}

Shapes ShapesOf(const Graph& graph, const std::vector<ValueId>& values) {
  Shapes shapes;
  shapes.reserve(values.size());
  for (ValueId value : values) shapes.push_back(graph.shape(value));
  return shapes;
}

}  // namespace

absl::Status CheckRegion(const Graph& region, const Shapes& parameters, const Shapes& results,
                         const char* what) {
  const Shapes found_parameters = ShapesOf(region, region.parameters());
  const Shapes found_results = ShapesOf(region, region.results());
  if (found_parameters != parameters || found_results != results) {
    return InvalidArgument("%s has signature %s -> %s, but must have %s -> %s", what, ToText(found_parameters),
                           ToText(found_results), ToText(parameters), ToText(results));
  }
  return absl::OkStatus();
}

}  // namespace internal

namespace {

using internal::CheckRegion;
using internal::Shapes;

absl::Status CheckCount(const Shapes& operands, size_t count) {
  if (operands.size() == count) return absl::OkStatus();
  return InvalidArgument("has %d operands, but needs %d", operands.size(), count);
}

// The element types that an elementwise op accepts.
enum class Takes { kAny, kNumber, kFloat, kInteger, kBits };
bool Accepts(Takes takes, DType dtype) {
  switch (takes) {
    case Takes::kAny:
      return true;
    case Takes::kNumber:
      return dtype != DType::kPred;
    case Takes::kFloat:
      return IsFloat(dtype);
    case Takes::kInteger:
      return IsInteger(dtype);
    case Takes::kBits:
      return IsInteger(dtype) || dtype == DType::kPred;
  }
  return false;
}
const char* NameOf(Takes takes) {
  switch (takes) {
    case Takes::kAny:
      return "any";
    case Takes::kNumber:
      return "numbers";
    case Takes::kFloat:
      return "floats";
    case Takes::kInteger:
      return "integers";
    case Takes::kBits:
      return "integers or pred";
  }
  return "";
}

Takes TakenBy(Opcode opcode) {
  switch (opcode) {
    case Opcode::kAbs:
    case Opcode::kNegate:
    case Opcode::kSign:
    case Opcode::kAdd:
    case Opcode::kDivide:
    case Opcode::kMultiply:
    case Opcode::kPower:
    case Opcode::kRemainder:
    case Opcode::kSubtract:
      return Takes::kNumber;
    case Opcode::kCopy:
    case Opcode::kCompare:
    case Opcode::kMaximum:
    case Opcode::kMinimum:
      return Takes::kAny;
    case Opcode::kCountLeadingZeros:
    case Opcode::kPopulationCount:
    case Opcode::kShiftLeft:
    case Opcode::kShiftRightArithmetic:
    case Opcode::kShiftRightLogical:
      return Takes::kInteger;
    case Opcode::kNot:
    case Opcode::kAnd:
    case Opcode::kOr:
    case Opcode::kXor:
      return Takes::kBits;
    default:
      return Takes::kFloat;
  }
}

absl::StatusOr<Shape> InferUnary(Opcode opcode, const Shapes& operands) {
  ALPA_RETURN_IF_ERROR(CheckCount(operands, 1));
  if (!Accepts(TakenBy(opcode), operands[0].dtype)) {
    return InvalidArgument("takes %s, found %s", NameOf(TakenBy(opcode)), operands[0].ToString());
  }
  if (opcode == Opcode::kIsFinite) return Shape{DType::kPred, operands[0].dims};
  return operands[0];
}

absl::StatusOr<Shape> InferBinary(Opcode opcode, const Shapes& operands) {
  ALPA_RETURN_IF_ERROR(CheckCount(operands, 2));
  if (operands[0] != operands[1]) {
    return InvalidArgument("operands %s and %s differ", operands[0].ToString(), operands[1].ToString());
  }
  if (!Accepts(TakenBy(opcode), operands[0].dtype)) {
    return InvalidArgument("takes %s, found %s", NameOf(TakenBy(opcode)), operands[0].ToString());
  }
  if (opcode == Opcode::kCompare) return Shape{DType::kPred, operands[0].dims};
  return operands[0];
}

absl::StatusOr<Shape> InferClamp(const Shapes& operands) {
  ALPA_RETURN_IF_ERROR(CheckCount(operands, 3));
  const Shape& x = operands[1];
  for (int i : {0, 2}) {
    if (operands[i].dtype != x.dtype || (operands[i].rank() != 0 && operands[i].dims != x.dims)) {
      return InvalidArgument("bound %s does not fit %s", operands[i].ToString(), x.ToString());
    }
  }
  if (x.dtype == DType::kPred) return InvalidArgument("takes numbers, found %s", x.ToString());
  return x;
}

absl::StatusOr<Shape> InferSelect(const Shapes& operands) {
  ALPA_RETURN_IF_ERROR(CheckCount(operands, 3));
  const Shape& p = operands[0];
  if (operands[1] != operands[2]) {
    return InvalidArgument("choices %s and %s differ", operands[1].ToString(), operands[2].ToString());
  }
  if (p.dtype != DType::kPred || (p.rank() != 0 && p.dims != operands[1].dims)) {
    return InvalidArgument("predicate %s does not fit %s", p.ToString(), operands[1].ToString());
  }
  return operands[1];
}

absl::StatusOr<Shapes> InferSort(const Shapes& operands, const SortAttrs& attrs, const Graph& comparator) {
  if (operands.empty()) return InvalidArgument("has no operands");
  Shapes parameters;
  for (const Shape& operand : operands) {
    if (operand.dims != operands[0].dims) {
      return InvalidArgument("operands %s and %s differ in size", operands[0].ToString(), operand.ToString());
    }
    parameters.insert(parameters.end(), 2, Shape{operand.dtype, {}});
  }
  ALPA_RETURN_IF_ERROR(internal::CheckDims({attrs.dimension}, operands[0].rank(), "sorted dimension"));
  ALPA_RETURN_IF_ERROR(CheckRegion(comparator, parameters, {Shape{DType::kPred, {}}}, "comparator"));
  return operands;
}

absl::StatusOr<Shapes> InferConditional(const Shapes& operands,
                                        const std::vector<std::shared_ptr<const Graph>>& regions) {
  if (operands.empty() || regions.empty()) return InvalidArgument("has no predicate or no branches");
  const Shape& choice = operands[0];
  const bool predicate = choice == Shape{DType::kPred, {}} && regions.size() == 2;
  if (!predicate && choice != Shape{DType::kS32, {}}) {
    return InvalidArgument("choice is %s with %d branches, but must be pred[] with 2 branches, or s32[]",
                           choice.ToString(), regions.size());
  }
  const Shapes arguments(operands.begin() + 1, operands.end());
  Shapes results;
  for (ValueId result : regions[0]->results()) results.push_back(regions[0]->shape(result));
  for (const auto& branch : regions) ALPA_RETURN_IF_ERROR(CheckRegion(*branch, arguments, results, "branch"));
  return results;
}

absl::StatusOr<Shapes> InferCollective(Opcode opcode, const Shapes& operands, const CollectiveAttrs& attrs,
                                       const Shapes& declared) {
  if (opcode == Opcode::kAxisIndex) {
    ALPA_RETURN_IF_ERROR(CheckCount(operands, 0));
    return Shapes{Shape{DType::kS32, {}}};
  }
  if (opcode == Opcode::kAllReduce) {
    if (operands.empty()) return InvalidArgument("has no operands");
    return operands;
  }
  ALPA_RETURN_IF_ERROR(CheckCount(operands, 1));
  const Shape& operand = operands[0];
  if (opcode == Opcode::kCollectivePermute) return operands;
  ALPA_RETURN_IF_ERROR(internal::CheckDims({attrs.dim}, operand.rank(), "dimension"));
  if (opcode == Opcode::kAllToAll) {
    ALPA_RETURN_IF_ERROR(internal::CheckDims({attrs.concat_dim}, operand.rank(), "concatenated dimension"));
  }
  // Verify checks the group size, because it knows the mesh. This function checks only that the split or
  // concatenated dimension changes by an integer factor, and that all other dimensions stay equal.
  if (declared.size() != 1 || declared[0].dtype != operand.dtype || declared[0].rank() != operand.rank()) {
    return InvalidArgument("needs one declared result with the element type and rank of %s", operand.ToString());
  }
  const Shape& result = declared[0];
  for (int64_t i = 0; i < operand.rank(); ++i) {
    const int64_t from = operand.dims[i], to = result.dims[i];
    bool fits = from == to;
    const bool grows = (opcode == Opcode::kAllGather && i == attrs.dim) ||
                       (opcode == Opcode::kAllToAll && i == attrs.concat_dim);
    const bool shrinks = opcode != Opcode::kAllGather && i == attrs.dim;
    if (grows && from > 0 && to % from == 0) fits = true;
    if (shrinks && to > 0 && from % to == 0) fits = true;
    if (!fits) return InvalidArgument("%s cannot become %s", operand.ToString(), result.ToString());
  }
  return declared;
}

// Returns the attributes as T, or kInvalidArgument if they have another type.
template <typename T>
absl::StatusOr<const T*> Get(const Attributes& attrs) {
  const T* result = std::get_if<T>(&attrs);
  if (result == nullptr) return InvalidArgument("has attributes of another op");
  return result;
}

absl::StatusOr<Shapes> One(absl::StatusOr<Shape> shape) {
  if (!shape.ok()) return std::move(shape).status();
  return Shapes{*std::move(shape)};
}

size_t RegionCount(Opcode opcode) {
  switch (opcode) {
    case Opcode::kReduce:
    case Opcode::kReduceWindow:
    case Opcode::kScatter:
    case Opcode::kSort:
      return 1;
    case Opcode::kWhile:
    case Opcode::kSelectAndScatter:
      return 2;
    default:
      return 0;
  }
}

absl::StatusOr<Shapes> Infer(Opcode opcode, const Shapes& operands, const Attributes& attrs,
                             const std::vector<std::shared_ptr<const Graph>>& regions,
                             const Shapes& declared) {
  if (opcode != Opcode::kConditional && regions.size() != RegionCount(opcode)) {
    return InvalidArgument("has %d regions, but needs %d", regions.size(), RegionCount(opcode));
  }
  for (const auto& region : regions) {
    if (region == nullptr) return InvalidArgument("has a region without a graph");
  }
  const auto need_declared = [&]() -> absl::Status {
    if (declared.size() == 1) return absl::OkStatus();
    return InvalidArgument("declares %d results, but must declare 1", declared.size());
  };
#define ALPA_ATTRS(Type) ALPA_ASSIGN_OR_RETURN(const Type* a, Get<Type>(attrs))
  switch (opcode) {
    case Opcode::kParameter: {
      ALPA_ATTRS(ParameterAttrs);
      ALPA_RETURN_IF_ERROR(CheckCount(operands, 0));
      ALPA_RETURN_IF_ERROR(need_declared());
      if (a->index < 0) return InvalidArgument("has index %d, but must have 0 or more", a->index);
      return declared;
    }
    case Opcode::kConstant: {
      ALPA_ATTRS(ConstantAttrs);
      ALPA_RETURN_IF_ERROR(CheckCount(operands, 0));
      return Shapes{a->literal.shape()};
    }
    case Opcode::kIota: {
      ALPA_ATTRS(DimsAttrs);
      ALPA_RETURN_IF_ERROR(CheckCount(operands, 0));
      ALPA_RETURN_IF_ERROR(need_declared());
      if (a->dims.size() != 1)
        return InvalidArgument("needs one dimension, found %s", internal::Join(a->dims));
      ALPA_RETURN_IF_ERROR(internal::CheckDims(a->dims, declared[0].rank(), "iota dimension"));
      if (declared[0].dtype == DType::kPred) return InvalidArgument("cannot produce pred");
      return declared;
    }
    case Opcode::kConvert:
    case Opcode::kReshape:
    case Opcode::kBitcastConvert: {
      ALPA_RETURN_IF_ERROR(CheckCount(operands, 1));
      ALPA_RETURN_IF_ERROR(need_declared());
      if (opcode == Opcode::kReshape) return One(internal::InferReshape(operands[0], declared[0]));
      if (opcode == Opcode::kBitcastConvert)
        return One(internal::InferBitcastConvert(operands[0], declared[0]));
      return Shapes{Shape{declared[0].dtype, operands[0].dims}};
    }
    case Opcode::kReducePrecision: {
      ALPA_ATTRS(ReducePrecisionAttrs);
      if (a->exponent_bits < 1 || a->exponent_bits > 11 || a->mantissa_bits < 0 || a->mantissa_bits > 52) {
        return InvalidArgument("has %d exponent bits (allowed: 1 to 11) and %d mantissa bits (allowed: 0 to 52)",
                               a->exponent_bits, a->mantissa_bits);
      }
      return One(InferUnary(opcode, operands));
    }
    case Opcode::kCompare: {
      ALPA_ATTRS(CompareAttrs);
      if (a->direction > CompareDirection::kGe) return InvalidArgument("has an unknown comparison direction");
      return One(InferBinary(opcode, operands));
    }
    case Opcode::kClamp:
      return One(InferClamp(operands));
    case Opcode::kSelect:
      return One(InferSelect(operands));
    case Opcode::kBroadcast: {
      ALPA_ATTRS(DimsAttrs);
      ALPA_RETURN_IF_ERROR(CheckCount(operands, 1));
      ALPA_RETURN_IF_ERROR(need_declared());
      return One(internal::InferBroadcast(operands[0], *a, declared[0]));
    }
    case Opcode::kConcatenate: {
      ALPA_ATTRS(DimsAttrs);
      return One(internal::InferConcatenate(operands, *a));
    }
    case Opcode::kDynamicSlice: {
      ALPA_ATTRS(DynamicSliceAttrs);
      return One(internal::InferDynamicSlice(operands, *a));
    }
    case Opcode::kDynamicUpdateSlice:
      return One(internal::InferDynamicUpdateSlice(operands));
    case Opcode::kGather: {
      ALPA_ATTRS(GatherAttrs);
      return One(internal::InferGather(operands, *a));
    }
    case Opcode::kPad: {
      ALPA_ATTRS(PadAttrs);
      return One(internal::InferPad(operands, *a));
    }
    case Opcode::kReverse:
    case Opcode::kTranspose: {
      ALPA_ATTRS(DimsAttrs);
      ALPA_RETURN_IF_ERROR(CheckCount(operands, 1));
      if (opcode == Opcode::kReverse) return One(internal::InferReverse(operands[0], *a));
      return One(internal::InferTranspose(operands[0], *a));
    }
    case Opcode::kScatter: {
      ALPA_ATTRS(ScatterAttrs);
      return internal::InferScatter(operands, *a, *regions[0]);
    }
    case Opcode::kSlice: {
      ALPA_ATTRS(SliceAttrs);
      ALPA_RETURN_IF_ERROR(CheckCount(operands, 1));
      return One(internal::InferSlice(operands[0], *a));
    }
    case Opcode::kConvolution: {
      ALPA_ATTRS(ConvolutionAttrs);
      ALPA_RETURN_IF_ERROR(need_declared());
      return One(internal::InferConvolution(operands, *a, declared[0].dtype));
    }
    case Opcode::kDot: {
      ALPA_ATTRS(DotAttrs);
      ALPA_RETURN_IF_ERROR(need_declared());
      return One(internal::InferDot(operands, *a, declared[0].dtype));
    }
    case Opcode::kReduce: {
      ALPA_ATTRS(DimsAttrs);
      return internal::InferReduce(operands, *a, *regions[0]);
    }
    case Opcode::kReduceWindow: {
      ALPA_ATTRS(WindowAttrs);
      return internal::InferReduceWindow(operands, *a, *regions[0]);
    }
    case Opcode::kSelectAndScatter: {
      ALPA_ATTRS(WindowAttrs);
      return One(internal::InferSelectAndScatter(operands, *a, *regions[0], *regions[1]));
    }
    case Opcode::kSort: {
      ALPA_ATTRS(SortAttrs);
      return InferSort(operands, *a, *regions[0]);
    }
    case Opcode::kConditional:
      return InferConditional(operands, regions);
    case Opcode::kOptimizationBarrier:
      return operands;
    case Opcode::kWhile:
      ALPA_RETURN_IF_ERROR(CheckRegion(*regions[0], operands, {Shape{DType::kPred, {}}}, "condition"));
      ALPA_RETURN_IF_ERROR(CheckRegion(*regions[1], operands, operands, "body"));
      return operands;
    case Opcode::kAllGather:
    case Opcode::kAllReduce:
    case Opcode::kAllToAll:
    case Opcode::kCollectivePermute:
    case Opcode::kReduceScatter:
    case Opcode::kAxisIndex: {
      ALPA_ATTRS(CollectiveAttrs);
      return InferCollective(opcode, operands, *a, declared);
    }
    default:
      break;
  }
#undef ALPA_ATTRS
  if (opcode >= Opcode::kAdd && opcode <= Opcode::kXor) return One(InferBinary(opcode, operands));
  return One(InferUnary(opcode, operands));
}

}  // namespace

absl::StatusOr<std::vector<Shape>> InferShapes(Opcode opcode, const std::vector<Shape>& operands,
                                               const Attributes& attrs,
                                               const std::vector<std::shared_ptr<const Graph>>& regions,
                                               const std::vector<Shape>& declared) {
  absl::StatusOr<Shapes> result = Infer(opcode, operands, attrs, regions, declared);
  if (!result.ok()) return Annotate(result.status(), graph::NameOf(opcode));
  return result;
}

}  // namespace alpa::graph
