#include "graph/builder.h"

#include <limits>
#include <utility>

#include "base/status.h"
#include "graph/verify.h"

namespace alpa::graph {
namespace {

// If `max` is true, returns the highest value of the type. Otherwise returns the lowest value. The highest float is
// +inf, and the lowest is -inf.
template <typename T>
Literal Extreme(DType dtype, bool max) {
  return Literal::Scalar<T>(dtype, max ? std::numeric_limits<T>::max() : std::numeric_limits<T>::min());
}
Literal Extreme(DType dtype, bool max) {
  switch (dtype) {
    case DType::kPred:
      return Literal::Scalar<uint8_t>(dtype, max);
    case DType::kS8:
      return Extreme<int8_t>(dtype, max);
    case DType::kS16:
      return Extreme<int16_t>(dtype, max);
    case DType::kS32:
      return Extreme<int32_t>(dtype, max);
    case DType::kS64:
      return Extreme<int64_t>(dtype, max);
    case DType::kU8:
      return Extreme<uint8_t>(dtype, max);
    case DType::kU16:
      return Extreme<uint16_t>(dtype, max);
    case DType::kU32:
      return Extreme<uint32_t>(dtype, max);
    case DType::kU64:
      return Extreme<uint64_t>(dtype, max);
    default:
      break;
  }
  const double infinity = std::numeric_limits<double>::infinity();
  return ScalarOf(dtype, max ? infinity : -infinity);
}

// Returns a scalar whose bits are all 1. For pred, returns true.
Literal AllOnes(DType dtype) {
  if (dtype == DType::kPred) return Literal::Scalar<uint8_t>(dtype, 1);
  return Literal(Shape{dtype, {}}, std::vector<std::byte>(SizeOf(dtype), std::byte{0xff}));
}

}  // namespace

int32_t GraphBuilder::Intern(const std::string& location) {
  if (location.empty()) return -1;
  const auto [entry, is_new] =
      location_index_.try_emplace(location, static_cast<int32_t>(graph_.locations_.size()));
  if (is_new) graph_.locations_.push_back(location);
  return entry->second;
}

ValueId GraphBuilder::Parameter(Shape shape, std::string location) {
  const int64_t index = static_cast<int64_t>(graph_.parameters_.size());
  return AddOp(Opcode::kParameter, {}, {std::move(shape)}, ParameterAttrs{index}, {}, std::move(location))[0];
}

std::vector<ValueId> GraphBuilder::AddOp(Opcode opcode, std::vector<ValueId> operands,
                                         std::vector<Shape> result_shapes, Attributes attrs,
                                         std::vector<std::shared_ptr<const Graph>> regions,
                                         std::string location) {
  const OpId id(graph_.size());
  Op op;
  op.opcode = opcode;
  op.operands = std::move(operands);
  op.attrs = std::move(attrs);
  op.regions = std::move(regions);
  op.location = Intern(location);
  op.results.reserve(result_shapes.size());
  for (size_t i = 0; i < result_shapes.size(); ++i) {
    op.results.emplace_back(static_cast<int32_t>(graph_.values_.size()));
    graph_.values_.push_back(Value{std::move(result_shapes[i]), id, static_cast<int32_t>(i)});
  }
  std::vector<ValueId> results = op.results;
  if (opcode == Opcode::kParameter) {
    ALPA_CHECK(results.size() == 1);
    graph_.parameters_.push_back(results[0]);
  }
  graph_.ops_.push_back(std::move(op));
  return results;
}

std::vector<ValueId> GraphBuilder::Clone(const Graph& source, const Op& op, std::vector<ValueId> operands) {
  std::vector<Shape> shapes;
  shapes.reserve(op.results.size());
  for (ValueId result : op.results) shapes.push_back(source.shape(result));
  return AddOp(op.opcode, std::move(operands), std::move(shapes), op.attrs, op.regions, source.location(op));
}

std::vector<ValueId> GraphBuilder::Inline(const Graph& body, const std::vector<ValueId>& arguments) {
  ALPA_CHECK(arguments.size() == body.parameters().size());
  std::vector<ValueId> mapped(body.values().size());
  for (size_t i = 0; i < arguments.size(); ++i) mapped[body.parameters()[i].value()] = arguments[i];
  for (const Op& op : body.ops()) {
    if (op.opcode == Opcode::kParameter) continue;
    std::vector<ValueId> operands;
    operands.reserve(op.operands.size());
    for (ValueId operand : op.operands) operands.push_back(mapped[operand.value()]);
    const std::vector<ValueId> results = Clone(body, op, std::move(operands));
    for (size_t i = 0; i < results.size(); ++i) mapped[op.results[i].value()] = results[i];
  }
  std::vector<ValueId> results;
  results.reserve(body.results().size());
  for (ValueId result : body.results()) results.push_back(mapped[result.value()]);
  return results;
}

namespace {

// Adds an op with one result, and infers the shape of this result. Stops the process if a shape is invalid.
ValueId Infer(GraphBuilder& builder, Opcode opcode, std::vector<ValueId> operands, Attributes attrs = {},
              std::vector<std::shared_ptr<const Graph>> regions = {}, std::vector<Shape> declared = {}) {
  std::vector<Shape> shapes;
  shapes.reserve(operands.size());
  for (ValueId operand : operands) shapes.push_back(builder.shape(operand));
  absl::StatusOr<std::vector<Shape>> result = InferShapes(opcode, shapes, attrs, regions, declared);
  if (!result.ok()) CheckFailed(std::string(result.status().message()).c_str(), __FILE__, __LINE__);
  return builder.AddOp(opcode, std::move(operands), *std::move(result), std::move(attrs),
                       std::move(regions))[0];
}

}  // namespace

ValueId GraphBuilder::Constant(Literal literal) {
  Shape shape = literal.shape();
  return AddOp(Opcode::kConstant, {}, {std::move(shape)}, ConstantAttrs{std::move(literal)})[0];
}
ValueId GraphBuilder::Scalar(DType dtype, double value) { return Constant(ScalarOf(dtype, value)); }
ValueId GraphBuilder::Full(Shape shape, double value) {
  const ValueId scalar = Scalar(shape.dtype, value);
  return shape.dims.empty() ? scalar : Broadcast(scalar, std::move(shape.dims), {});
}
ValueId GraphBuilder::Iota(Shape shape, int64_t dim) {
  return Infer(*this, Opcode::kIota, {}, DimsAttrs{{dim}}, {}, {std::move(shape)});
}
ValueId GraphBuilder::Unary(Opcode opcode, ValueId a) { return Infer(*this, opcode, {a}); }
ValueId GraphBuilder::Binary(Opcode opcode, ValueId a, ValueId b) { return Infer(*this, opcode, {a, b}); }
ValueId GraphBuilder::Compare(CompareDirection direction, ValueId a, ValueId b) {
  return Infer(*this, Opcode::kCompare, {a, b}, CompareAttrs{direction});
}
ValueId GraphBuilder::Select(ValueId predicate, ValueId on_true, ValueId on_false) {
  return Infer(*this, Opcode::kSelect, {predicate, on_true, on_false});
}
ValueId GraphBuilder::Convert(ValueId a, DType dtype) {
  Shape declared{dtype, shape(a).dims};
  return Infer(*this, Opcode::kConvert, {a}, {}, {}, {std::move(declared)});
}
ValueId GraphBuilder::Broadcast(ValueId a, std::vector<int64_t> result_dims, std::vector<int64_t> dims) {
  Shape declared{shape(a).dtype, std::move(result_dims)};
  return Infer(*this, Opcode::kBroadcast, {a}, DimsAttrs{std::move(dims)}, {}, {std::move(declared)});
}
ValueId GraphBuilder::Reshape(ValueId a, std::vector<int64_t> result_dims) {
  Shape declared{shape(a).dtype, std::move(result_dims)};
  return Infer(*this, Opcode::kReshape, {a}, {}, {}, {std::move(declared)});
}
ValueId GraphBuilder::Transpose(ValueId a, std::vector<int64_t> permutation) {
  return Infer(*this, Opcode::kTranspose, {a}, DimsAttrs{std::move(permutation)});
}
ValueId GraphBuilder::Slice(ValueId a, std::vector<int64_t> starts, std::vector<int64_t> limits,
                            std::vector<int64_t> strides) {
  if (strides.empty()) strides.assign(starts.size(), 1);
  return Infer(*this, Opcode::kSlice, {a},
               SliceAttrs{std::move(starts), std::move(limits), std::move(strides)});
}
ValueId GraphBuilder::DynamicSlice(ValueId a, std::vector<ValueId> starts, std::vector<int64_t> sizes) {
  std::vector<ValueId> operands = {a};
  operands.insert(operands.end(), starts.begin(), starts.end());
  return Infer(*this, Opcode::kDynamicSlice, std::move(operands), DynamicSliceAttrs{std::move(sizes)});
}
ValueId GraphBuilder::DynamicUpdateSlice(ValueId a, ValueId update, std::vector<ValueId> starts) {
  std::vector<ValueId> operands = {a, update};
  operands.insert(operands.end(), starts.begin(), starts.end());
  return Infer(*this, Opcode::kDynamicUpdateSlice, std::move(operands));
}
ValueId GraphBuilder::Concatenate(std::vector<ValueId> operands, int64_t dim) {
  return Infer(*this, Opcode::kConcatenate, std::move(operands), DimsAttrs{{dim}});
}
ValueId GraphBuilder::Dot(ValueId lhs, ValueId rhs, DotAttrs attrs, DType result_dtype) {
  return Infer(*this, Opcode::kDot, {lhs, rhs}, std::move(attrs), {}, {Shape{result_dtype, {}}});
}
ValueId GraphBuilder::Reduce(ValueId a, ReduceKind kind, std::vector<int64_t> dims) {
  const DType dtype = shape(a).dtype;
  const ValueId initial = Constant(ReduceIdentity(kind, dtype));
  return Infer(*this, Opcode::kReduce, {a, initial}, DimsAttrs{std::move(dims)}, {ReduceRegion(kind, dtype)});
}
std::vector<ValueId> GraphBuilder::AllReduce(std::vector<ValueId> operands, std::vector<int64_t> mesh_axes,
                                             ReduceKind kind) {
  std::vector<Shape> shapes;
  shapes.reserve(operands.size());
  for (ValueId operand : operands) shapes.push_back(shape(operand));
  CollectiveAttrs attrs;
  attrs.mesh_axes = std::move(mesh_axes);
  attrs.kind = kind;
  return AddOp(Opcode::kAllReduce, std::move(operands), std::move(shapes), std::move(attrs));
}

void GraphBuilder::SetResults(std::vector<ValueId> results) { graph_.results_ = std::move(results); }

Graph GraphBuilder::Build() {
  Graph graph = std::move(graph_);
  graph_ = Graph();
  location_index_.clear();
  return graph;
}

std::shared_ptr<const Graph> ReduceRegion(ReduceKind kind, DType dtype) {
  GraphBuilder builder;
  const ValueId a = builder.Parameter(Shape{dtype, {}});
  const ValueId b = builder.Parameter(Shape{dtype, {}});
  Opcode opcode = Opcode::kAdd;
  switch (kind) {
    case ReduceKind::kSum:
      opcode = Opcode::kAdd;
      break;
    case ReduceKind::kMax:
      opcode = Opcode::kMaximum;
      break;
    case ReduceKind::kMin:
      opcode = Opcode::kMinimum;
      break;
    case ReduceKind::kAnd:
      opcode = Opcode::kAnd;
      break;
    case ReduceKind::kOr:
      opcode = Opcode::kOr;
      break;
    case ReduceKind::kProduct:
      opcode = Opcode::kMultiply;
      break;
  }
  builder.SetResults({builder.Binary(opcode, a, b)});
  return std::make_shared<const Graph>(builder.Build());
}

Literal ReduceIdentity(ReduceKind kind, DType dtype) {
  switch (kind) {
    case ReduceKind::kSum:
    case ReduceKind::kOr:
      return ScalarOf(dtype, 0);
    case ReduceKind::kProduct:
      return ScalarOf(dtype, 1);
    case ReduceKind::kAnd:
      return AllOnes(dtype);
    case ReduceKind::kMax:
      return Extreme(dtype, false);
    case ReduceKind::kMin:
      return Extreme(dtype, true);
  }
  ALPA_CHECK(false && "not a reduction");
}

}  // namespace alpa::graph
