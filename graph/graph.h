// The graph IR: what a program computes, as a flat list of operations in dependency order.
//
// Model:    A Graph is parameters, ops and results. Each op reads values and defines one or more (`while`, variadic
//           `reduce` and `sort` define several; there are no tuples). An op may hold regions: closed graphs that take
//           only their own parameters (a reduction's combiner, a loop's condition and body). Ops stand in an order
//           where every operand is defined before its use. Semantics are XLA's, op by op, with `literal rank` rules:
//           no implicit broadcast, both operands of an elementwise op have one shape.
// Uses:     1. The user's whole step, as import writes it. 2. A StageProgram's body: then shapes are one device's
//           tile, and collective ops may appear, which name mesh axes.
// Threads:  a value type; a const Graph may be read from anywhere. Regions are shared and never changed in place.
// Start at: GraphBuilder in graph/builder.h to make one, graph/import.h to read one, graph/verify.h for the rules.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "graph/literal.h"
#include "graph/shape.h"

namespace alpa::graph {

using ValueId = StrongId<struct ValueTag>;
using OpId = StrongId<struct OpTag>;

// The list of all opcodes: X(enumerator, name as HLO writes it). A name is stable: it is written to plans.
#define ALPA_OPCODES(X)                                                                                              \
  /* sources */                                                                                                      \
  X(Parameter, "parameter") X(Constant, "constant") X(Iota, "iota")                                                  \
  /* elementwise, one operand */                                                                                     \
  X(Abs, "abs") X(Cbrt, "cbrt") X(Ceil, "ceil") X(CountLeadingZeros, "count-leading-zeros") X(Cosine, "cosine")       \
  X(Erf, "erf") X(Exp, "exponential") X(Expm1, "exponential-minus-one") X(Floor, "floor")                            \
  X(IsFinite, "is-finite") X(Log, "log") X(Log1p, "log-plus-one") X(Logistic, "logistic") X(Negate, "negate")        \
  X(Not, "not") X(PopulationCount, "popcnt") X(RoundNearestAfz, "round-nearest-afz")                                 \
  X(RoundNearestEven, "round-nearest-even") X(Rsqrt, "rsqrt") X(Sign, "sign") X(Sine, "sine") X(Sqrt, "sqrt")        \
  X(Tan, "tan") X(Tanh, "tanh") X(Convert, "convert") X(BitcastConvert, "bitcast-convert")                           \
  X(ReducePrecision, "reduce-precision") X(Copy, "copy")                                                             \
  /* elementwise, two operands */                                                                                    \
  X(Add, "add") X(Atan2, "atan2") X(Compare, "compare") X(Divide, "divide") X(Maximum, "maximum")                    \
  X(Minimum, "minimum") X(Multiply, "multiply") X(Power, "power") X(Remainder, "remainder")                          \
  X(ShiftLeft, "shift-left") X(ShiftRightArithmetic, "shift-right-arithmetic")                                       \
  X(ShiftRightLogical, "shift-right-logical") X(Subtract, "subtract") X(And, "and") X(Or, "or") X(Xor, "xor")        \
  /* elementwise, three operands: both may take scalar bounds/predicate as HLO does */                               \
  X(Clamp, "clamp") X(Select, "select")                                                                              \
  /* data movement */                                                                                                \
  X(Broadcast, "broadcast") X(Concatenate, "concatenate") X(DynamicSlice, "dynamic-slice")                           \
  X(DynamicUpdateSlice, "dynamic-update-slice") X(Gather, "gather") X(Pad, "pad") X(Reshape, "reshape")              \
  X(Reverse, "reverse") X(Scatter, "scatter") X(Slice, "slice") X(Transpose, "transpose")                            \
  /* contractions and reductions */                                                                                  \
  X(Convolution, "convolution") X(Dot, "dot") X(Reduce, "reduce") X(ReduceWindow, "reduce-window")                   \
  X(SelectAndScatter, "select-and-scatter") X(Sort, "sort")                                                          \
  /* control */                                                                                                      \
  X(Conditional, "conditional") X(OptimizationBarrier, "opt-barrier") X(While, "while")                              \
  /* in a StageProgram only: between the devices of a mesh */                                                        \
  X(AllGather, "all-gather") X(AllReduce, "all-reduce") X(AllToAll, "all-to-all")                                    \
  X(CollectivePermute, "collective-permute") X(ReduceScatter, "reduce-scatter") X(AxisIndex, "axis-index")

enum class Opcode : uint8_t {
#define ALPA_OPCODE(name, text) k##name,
  ALPA_OPCODES(ALPA_OPCODE)
#undef ALPA_OPCODE
};

absl::string_view NameOf(Opcode opcode);
absl::StatusOr<Opcode> ParseOpcode(absl::string_view name);
bool IsElementwise(Opcode opcode);  // same-shape map of its operands (Clamp, Select, Convert, Copy among them)
bool IsProduct(Opcode opcode);      // of matrices: Dot and Convolution
bool IsCollective(Opcode opcode);   // the last group, kAxisIndex excepted

// ---- Attributes: one struct for each op family that has any ----

struct ParameterAttrs { int64_t index = 0; bool operator==(const ParameterAttrs&) const = default; };
struct ConstantAttrs { Literal literal; bool operator==(const ConstantAttrs&) const = default; };
// Iota: dims = {iota dimension}. Broadcast: result dimension of each operand dimension (increasing is not required).
// Transpose: permutation, result dim i = operand dim dims[i]. Reverse: reversed dims. Reduce: reduced dims.
// Concatenate: {dimension}. Sort: {dimension}.
struct DimsAttrs { std::vector<int64_t> dims; bool operator==(const DimsAttrs&) const = default; };
enum class CompareDirection : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe };
struct CompareAttrs {
  CompareDirection direction = CompareDirection::kEq;
  bool total_order = false;  // floats: -NaN < -inf < ... < -0 < +0 < ... < +inf < +NaN
  bool operator==(const CompareAttrs&) const = default;
};
struct DotAttrs {
  std::vector<int64_t> lhs_batch, rhs_batch, lhs_contracting, rhs_contracting;
  // Result dims: batch, then lhs free, then rhs free. The result dtype may be wider than the operands'.
  bool operator==(const DotAttrs&) const = default;
};
struct SliceAttrs {
  std::vector<int64_t> starts, limits, strides;
  bool operator==(const SliceAttrs&) const = default;
};
// Operands: array, then one scalar start index per dimension (clamped as XLA does). DynamicUpdateSlice has no sizes.
struct DynamicSliceAttrs { std::vector<int64_t> sizes; bool operator==(const DynamicSliceAttrs&) const = default; };
struct PadAttrs {
  std::vector<int64_t> low, high, interior;  // low and high may be negative
  bool operator==(const PadAttrs&) const = default;
};
struct GatherAttrs {
  std::vector<int64_t> offset_dims, collapsed_slice_dims, start_index_map, operand_batching_dims,
      start_indices_batching_dims, slice_sizes;
  int64_t index_vector_dim = 0;
  bool indices_are_sorted = false;
  bool operator==(const GatherAttrs&) const = default;
};
// Operands: n arrays, indices, n updates; n results; region combines (n current, n update) scalars.
struct ScatterAttrs {
  std::vector<int64_t> update_window_dims, inserted_window_dims, scatter_dims_to_operand_dims, input_batching_dims,
      scatter_indices_batching_dims;
  int64_t index_vector_dim = 0;
  bool indices_are_sorted = false;
  bool unique_indices = false;
  bool operator==(const ScatterAttrs&) const = default;
};
struct WindowDim {
  int64_t size = 1, stride = 1, padding_low = 0, padding_high = 0, window_dilation = 1, base_dilation = 1;
  bool reversal = false;
  bool operator==(const WindowDim&) const = default;
};
// ReduceWindow: one per operand dimension; operands: n arrays, n initial scalars. SelectAndScatter: operands array,
// source, initial; regions {select, scatter}.
struct WindowAttrs { std::vector<WindowDim> window; bool operator==(const WindowAttrs&) const = default; };
struct ConvolutionAttrs {
  std::vector<WindowDim> window;  // one per spatial dimension
  int64_t input_batch = 0, input_feature = 1, kernel_input_feature = 1, kernel_output_feature = 0, output_batch = 0,
          output_feature = 1;
  std::vector<int64_t> input_spatial, kernel_spatial, output_spatial;
  int64_t feature_group_count = 1, batch_group_count = 1;
  bool operator==(const ConvolutionAttrs&) const = default;
};
struct SortAttrs { int64_t dimension = 0; bool stable = false; bool operator==(const SortAttrs&) const = default; };
struct ReducePrecisionAttrs {
  int32_t exponent_bits = 8, mantissa_bits = 23;
  bool operator==(const ReducePrecisionAttrs&) const = default;
};
enum class ReduceKind : uint8_t { kSum, kMax, kMin, kAnd, kOr, kProduct };
absl::string_view NameOf(ReduceKind kind);
// Collectives run among the devices of the mesh that differ only in their coordinates on `mesh_axes` (in row-major
// order of these axes). AllReduce: many operands at once, same number of results. AllGather: concatenates along `dim`.
// ReduceScatter: result tile of dim `dim`. AllToAll: splits `dim`, concatenates along `concat_dim`. CollectivePermute:
// rank i sends to permutation[i] (-1: nobody; who receives nothing gets zeros). AxisIndex: s32[] rank in the group.
struct CollectiveAttrs {
  std::vector<int64_t> mesh_axes;
  ReduceKind kind = ReduceKind::kSum;
  int64_t dim = 0;
  int64_t concat_dim = 0;
  std::vector<int64_t> permutation;
  bool operator==(const CollectiveAttrs&) const = default;
};

using Attributes =
    std::variant<std::monostate, ParameterAttrs, ConstantAttrs, DimsAttrs, CompareAttrs, DotAttrs, SliceAttrs,
                 DynamicSliceAttrs, PadAttrs, GatherAttrs, ScatterAttrs, WindowAttrs, ConvolutionAttrs, SortAttrs,
                 ReducePrecisionAttrs, CollectiveAttrs>;

class Graph;

struct Op {
  Opcode opcode = Opcode::kParameter;
  std::vector<ValueId> operands;
  std::vector<ValueId> results;
  Attributes attrs;
  // Reduce, ReduceWindow, Scatter, Sort: {combiner or comparator}. While: {condition, body} over the carried values.
  // Conditional: one per branch (a predicate takes the first when true); operands: predicate or index, then the same operands for every branch, which all
  // branch graphs take whole. SelectAndScatter: {select, scatter}.
  std::vector<std::shared_ptr<const Graph>> regions;
  // Where the user wrote it: "model.py:42 (jit(step)/attention/dot_general)", for messages; never for decisions.
  // Index into Graph::locations, -1 where unknown.
  int32_t location = -1;

  template <typename T>
  const T& as() const { return std::get<T>(attrs); }
};

struct Value {
  Shape shape;
  OpId op;           // the op that defines it
  int32_t result = 0;  // which of that op's results
};

class Graph {
 public:
  // Parameters in order of their index; each is the single result of a kParameter op.
  const std::vector<ValueId>& parameters() const { return parameters_; }
  const std::vector<ValueId>& results() const { return results_; }
  const std::vector<Op>& ops() const { return ops_; }
  const std::vector<Value>& values() const { return values_; }
  const std::vector<std::string>& locations() const { return locations_; }

  const Op& op(OpId id) const { return ops_[id.value()]; }
  const Value& value(ValueId id) const { return values_[id.value()]; }
  const Shape& shape(ValueId id) const { return values_[id.value()].shape; }
  const Op& def(ValueId id) const { return ops_[values_[id.value()].op.value()]; }
  std::string location(const Op& op) const;  // "" where unknown
  int size() const { return static_cast<int>(ops_.size()); }

 private:
  friend class GraphBuilder;
  std::vector<Op> ops_;
  std::vector<Value> values_;
  std::vector<ValueId> parameters_;
  std::vector<ValueId> results_;
  std::vector<std::string> locations_;
};

// Ops that read each value, by value; an op that reads a value twice is listed twice. Results of the graph are not uses.
std::vector<std::vector<OpId>> Uses(const Graph& graph);

// The reduction that a two-parameter combiner region computes, or nothing: kSum for add(a, b) in either order, kMax,
// kMin, kAnd, kOr, kProduct.
const ReduceKind* AsReduceKind(const Graph& region);

}  // namespace alpa::graph
