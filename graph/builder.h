// Builds graphs op by op.
//
// Errors: No method returns a status. AddOp, Clone and Inline do not check shapes, so the caller of Build must run
//         Verify. The shorthands, such as Binary and Dot, stop the process if a shape is invalid. They are for code
//         whose shapes are always valid (lowering, tests).
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace alpa::graph {

class GraphBuilder {
 public:
  // Adds a parameter with the next index.
  ValueId Parameter(Shape shape, std::string location = "");

  // Adds an op with the given result shapes, and returns its results. Does not check the shapes.
  std::vector<ValueId> AddOp(Opcode opcode, std::vector<ValueId> operands, std::vector<Shape> result_shapes,
                             Attributes attrs = {}, std::vector<std::shared_ptr<const Graph>> regions = {},
                             std::string location = "");
  // Adds a copy of `op` from `source` that reads `operands`. The copy keeps attributes, regions, location and result
  // shapes.
  std::vector<ValueId> Clone(const Graph& source, const Op& op, std::vector<ValueId> operands);
  // Appends all ops of `body`, with its parameters bound to `arguments`. Returns the values of this graph that
  // correspond to the results of `body`.
  // REQUIRES: one argument per parameter.
  std::vector<ValueId> Inline(const Graph& body, const std::vector<ValueId>& arguments);

  // Shorthands that infer the result shape.
  ValueId Constant(Literal literal);
  ValueId Scalar(DType dtype, double value);
  ValueId Full(Shape shape, double value);                         // broadcasts a scalar
  ValueId Iota(Shape shape, int64_t dim);
  ValueId Unary(Opcode opcode, ValueId a);
  ValueId Binary(Opcode opcode, ValueId a, ValueId b);
  ValueId Compare(CompareDirection direction, ValueId a, ValueId b);
  ValueId Select(ValueId predicate, ValueId on_true, ValueId on_false);
  ValueId Convert(ValueId a, DType dtype);
  ValueId Broadcast(ValueId a, std::vector<int64_t> result_dims, std::vector<int64_t> dims);
  ValueId Reshape(ValueId a, std::vector<int64_t> result_dims);
  ValueId Transpose(ValueId a, std::vector<int64_t> permutation);
  ValueId Slice(ValueId a, std::vector<int64_t> starts, std::vector<int64_t> limits, std::vector<int64_t> strides = {});
  ValueId DynamicSlice(ValueId a, std::vector<ValueId> starts, std::vector<int64_t> sizes);
  ValueId DynamicUpdateSlice(ValueId a, ValueId update, std::vector<ValueId> starts);
  ValueId Concatenate(std::vector<ValueId> operands, int64_t dim);
  ValueId Dot(ValueId lhs, ValueId rhs, DotAttrs attrs, DType result_dtype);
  ValueId Reduce(ValueId a, ReduceKind kind, std::vector<int64_t> dims);  // initial value: the identity of `kind`
  std::vector<ValueId> AllReduce(std::vector<ValueId> operands, std::vector<int64_t> mesh_axes, ReduceKind kind);

  const Shape& shape(ValueId id) const { return graph_.shape(id); }
  const Graph& graph() const { return graph_; }
  void SetResults(std::vector<ValueId> results);
  // Returns the graph and leaves the builder empty.
  Graph Build();

 private:
  int32_t Intern(const std::string& location);
  Graph graph_;
  std::unordered_map<std::string, int32_t> location_index_;
};

// Returns the combiner of a reduction: a graph with two scalar parameters and one scalar result.
std::shared_ptr<const Graph> ReduceRegion(ReduceKind kind, DType dtype);
// Returns the identity element of a reduction, as a scalar.
Literal ReduceIdentity(ReduceKind kind, DType dtype);

}  // namespace alpa::graph
