// The graph IR: a program as a flat list of ops in dependency order.
//
// Model:    A Graph has parameters, ops and results. Each op reads values and defines one or more values. `while`,
//           variadic `reduce` and `sort` may define several values, because there are no tuples. An op may hold
//           regions. A region is a closed graph that reads only its own parameters, such as a reduction's combiner or a
//           loop's body. Every value is defined before the ops that read it. An op has the semantics of the XLA op of
//           the same name. There are no implicit broadcasts: both operands of an elementwise op have the same shape.
// Uses:     1. The user's whole step, which import reads.
//           2. The body of a StageProgram. Its shapes are the shapes of one device's tiles. It may contain collective
//              ops, which name mesh axes.
// Threads:  A Graph is a value type. Any thread may read a const Graph. Regions are shared and never change.
// Start at: GraphBuilder in graph/builder.h to build a graph, graph/import.h to read one, graph/verify.h for the rules.
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

// The list of all opcodes: X(enumerator, name in HLO). Names are stable, because serialized graphs contain them.
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
  /* elementwise, three operands; clamp's bounds and select's predicate may be scalars, as in HLO */                 \
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
  /* communication between the devices of a mesh; only in a StageProgram */                                          \
  X(AllGather, "all-gather") X(AllReduce, "all-reduce") X(AllToAll, "all-to-all")                                    \
  X(CollectivePermute, "collective-permute") X(ReduceScatter, "reduce-scatter") X(AxisIndex, "axis-index")

enum class Opcode : uint8_t {
#define ALPA_OPCODE(name, text) k##name,
  ALPA_OPCODES(ALPA_OPCODE)
#undef ALPA_OPCODE
};

absl::string_view NameOf(Opcode opcode);
absl::StatusOr<Opcode> ParseOpcode(absl::string_view name);
bool IsElementwise(Opcode opcode);  // whether the opcode is in one of the three elementwise groups above
bool IsProduct(Opcode opcode);      // whether the opcode is Dot or Convolution
bool IsCollective(Opcode opcode);   // whether the opcode is in the last group above; false for AxisIndex

// ---- Attributes: one struct per op family that has attributes ----

struct ParameterAttrs { int64_t index = 0; bool operator==(const ParameterAttrs&) const = default; };
struct ConstantAttrs { Literal literal; bool operator==(const ConstantAttrs&) const = default; };
// Iota: dims = {iota dimension}. Concatenate: {dimension}. Reduce: reduced dimensions. Reverse: reversed dimensions.
// Broadcast: for each operand dimension, the dimension of the result that it becomes, in any order.
// Transpose: a permutation; result dimension i is operand dimension dims[i].
struct DimsAttrs { std::vector<int64_t> dims; bool operator==(const DimsAttrs&) const = default; };
enum class CompareDirection : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe };
struct CompareAttrs {
  CompareDirection direction = CompareDirection::kEq;
  bool total_order = false;  // floats: -NaN < -inf < ... < -0 < +0 < ... < +inf < +NaN
  bool operator==(const CompareAttrs&) const = default;
};
struct DotAttrs {
  std::vector<int64_t> lhs_batch, rhs_batch, lhs_contracting, rhs_contracting;
  // Result dims: batch, then lhs free, then rhs free. The result dtype may be wider than the operand dtypes.
  bool operator==(const DotAttrs&) const = default;
};
struct SliceAttrs {
  std::vector<int64_t> starts, limits, strides;
  bool operator==(const SliceAttrs&) const = default;
};
// DynamicSlice operands: the array, then one scalar start index per dimension. Starts are clamped as in XLA.
// DynamicUpdateSlice has no attributes. Its operands are the array, the update, and the start indices.
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
// Operands: n arrays, the indices, n update arrays. There are n results. The region maps n current and n update scalars
// to n scalars.
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
// `window` has one entry per operand dimension. ReduceWindow operands: n arrays, then n initial scalars.
// SelectAndScatter operands: array, source, initial scalar. Its regions are {select, scatter}.
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
// A collective runs in groups of devices. The devices of a group differ only in their coordinates on `mesh_axes`. Their
// ranks follow the row-major order of these axes.
// AllReduce: reduces each operand over the group. It has any number of operands, and one result per operand.
// AllGather: concatenates the tiles along `dim`.
// ReduceScatter: reduces the operands of the group, and gives each device one tile of the result along `dim`.
// AllToAll: splits along `dim` and concatenates along `concat_dim`.
// CollectivePermute: rank i sends to rank permutation[i]; -1 means that rank i does not send. A rank that receives
// nothing gets zeros.
// AxisIndex: the device's rank in its group, as s32[].
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
  // The regions per opcode. Reduce, ReduceWindow, Scatter, Sort: {combiner or comparator}. SelectAndScatter:
  // {select, scatter}.
  // While: {condition, body}. The parameters of both are the carried values.
  // Conditional: one region per branch. Operand 0 is a predicate or an index; a true predicate selects region 0. Every
  // region takes the remaining operands as arguments.
  std::vector<std::shared_ptr<const Graph>> regions;
  // Index into Graph::locations, or -1 if unknown. A location is the op's position in the user's code, such as
  // "model.py:42 (jit(step)/attention/dot_general)". Messages show the location; no decision depends on it.
  int32_t location = -1;

  template <typename T>
  const T& as() const { return std::get<T>(attrs); }
};

struct Value {
  Shape shape;
  OpId op;           // the op that defines this value
  int32_t result = 0;  // the index of this value among the results of `op`
};

class Graph {
 public:
  // Parameters in the order of their index. Each is the single result of a kParameter op.
  const std::vector<ValueId>& parameters() const { return parameters_; }
  const std::vector<ValueId>& results() const { return results_; }
  const std::vector<Op>& ops() const { return ops_; }
  const std::vector<Value>& values() const { return values_; }
  const std::vector<std::string>& locations() const { return locations_; }

  const Op& op(OpId id) const { return ops_[id.value()]; }
  const Value& value(ValueId id) const { return values_[id.value()]; }
  const Shape& shape(ValueId id) const { return values_[id.value()].shape; }
  const Op& def(ValueId id) const { return ops_[values_[id.value()].op.value()]; }
  std::string location(const Op& op) const;  // "" if unknown
  int size() const { return static_cast<int>(ops_.size()); }

 private:
  friend class GraphBuilder;
  std::vector<Op> ops_;
  std::vector<Value> values_;
  std::vector<ValueId> parameters_;
  std::vector<ValueId> results_;
  std::vector<std::string> locations_;
};

// Returns, for each value, the ops that read it. An op that reads a value twice is listed twice. Results of the graph
// do not count as uses.
std::vector<std::vector<OpId>> Uses(const Graph& graph);

// Returns the ReduceKind that a combiner region computes, or null if it computes no ReduceKind. The region must have
// two parameters and combine them with one op, in either order.
const ReduceKind* AsReduceKind(const Graph& region);

}  // namespace alpa::graph
