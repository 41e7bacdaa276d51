#include "planner/lower/indexed_op.h"

#include <algorithm>

#include "planner/lower/local_op.h"
#include "planner/strategy/rules.h"

namespace alpa::planner {

using graph::DType;
using graph::GraphBuilder;
using graph::Op;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;

namespace {

int64_t Find(const std::vector<int64_t>& list, int64_t value) {
  const auto it = std::find(list.begin(), list.end(), value);
  return it == list.end() ? -1 : it - list.begin();
}

const std::vector<int64_t>& IndexMap(const Op& op) {
  return op.opcode == Opcode::kGather ? op.as<graph::GatherAttrs>().start_index_map
                                      : op.as<graph::ScatterAttrs>().scatter_dims_to_operand_dims;
}

int64_t IndexVectorDim(const Op& op) {
  return op.opcode == Opcode::kGather ? op.as<graph::GatherAttrs>().index_vector_dim
                                      : op.as<graph::ScatterAttrs>().index_vector_dim;
}

// Returns a signed type that is wide enough to subtract an offset without wrapping.
DType SignedIndex(DType dtype) {
  const bool wide = dtype == DType::kU32 || dtype == DType::kS64 || dtype == DType::kU64;
  return wide ? DType::kS64 : DType::kS32;
}

class IndexedOp {
 public:
  IndexedOp(GraphBuilder& builder, const graph::Graph& program, const Op& op, const std::vector<ValueId>& operands,
            const AxisState& split, int64_t chunks, ValueId chunk)
      : b_(builder), program_(program), op_(op), operands_(operands), dim_(split.dim), chunks_(chunks), chunk_(chunk),
        whole_size_(program.shape(op.operands[0]).dims[split.dim]), size_(whole_size_ / chunks),
        vector_dim_(IndexVectorDim(op)), component_(Find(IndexMap(op), split.dim)) {}

  ValueId Emit() { return op_.opcode == Opcode::kGather ? Gather() : Scatter(); }

 private:
  ValueId Full(const Shape& like, ValueId scalar) { return b_.Broadcast(scalar, like.dims, {}); }
  ValueId Number(DType dtype, int64_t value) { return b_.Scalar(dtype, static_cast<double>(value)); }

  ValueId SignedIndices() {
    const ValueId indices = operands_[1];
    return b_.Convert(indices, SignedIndex(b_.shape(indices).dtype));
  }

  // Returns component `component_` of each index vector, without the vector dimension.
  ValueId Component(ValueId indices) {
    Shape shape = b_.shape(indices);
    if (vector_dim_ == shape.rank()) return indices;
    std::vector<int64_t> starts(shape.rank(), 0), limits = shape.dims;
    starts[vector_dim_] = component_;
    limits[vector_dim_] = component_ + 1;
    std::vector<int64_t> dims = shape.dims;
    dims.erase(dims.begin() + vector_dim_);
    return b_.Reshape(b_.Slice(indices, starts, limits), dims);
  }
  // Returns `indices` with component `component_` replaced by `component`.
  ValueId WithComponent(ValueId indices, ValueId component) {
    const Shape shape = b_.shape(indices);
    if (vector_dim_ == shape.rank()) return component;
    std::vector<int64_t> one = shape.dims;
    one[vector_dim_] = 1;
    std::vector<ValueId> parts;
    auto rest = [&](int64_t from, int64_t to) {
      if (from == to) return;
      std::vector<int64_t> starts(shape.rank(), 0), limits = shape.dims;
      starts[vector_dim_] = from;
      limits[vector_dim_] = to;
      parts.push_back(b_.Slice(indices, starts, limits));
    };
    rest(0, component_);
    parts.push_back(b_.Reshape(component, one));
    rest(component_ + 1, shape.dims[vector_dim_]);
    return parts.size() == 1 ? parts[0] : b_.Concatenate(parts, vector_dim_);
  }

  // Returns the component relative to the start of the chunk's slice.
  ValueId Relative(ValueId component) {
    const Shape shape = b_.shape(component);
    const ValueId offset =
        b_.Binary(Opcode::kMultiply, b_.Convert(chunk_, shape.dtype), Number(shape.dtype, size_));
    return b_.Binary(Opcode::kSubtract, component, Full(shape, offset));
  }

  ValueId Gather() {
    graph::GatherAttrs attrs = op_.as<graph::GatherAttrs>();
    const ValueId indices = SignedIndices();
    const ValueId component = Component(indices);
    const Shape shape = b_.shape(component);
    auto clamp = [&](ValueId v, int64_t last) {
      return b_.Binary(Opcode::kMinimum, b_.Binary(Opcode::kMaximum, v, Full(shape, Number(shape.dtype, 0))),
                       Full(shape, Number(shape.dtype, last)));
    };
    // The original gather clamps its indices. After clamping, each index is in exactly one slice.
    const ValueId relative = Relative(clamp(component, whole_size_ - 1));
    const ValueId inside = clamp(relative, size_ - 1);
    const ValueId mine = b_.Compare(graph::CompareDirection::kEq, inside, relative);
    const Shape& result = program_.shape(op_.results[0]);
    const ValueId found = b_.AddOp(Opcode::kGather, {operands_[0], WithComponent(indices, inside)}, {result}, attrs, {},
                                   program_.location(op_))[0];
    std::vector<int64_t> batch_dims;
    for (int64_t d = 0; d < result.rank(); ++d) {
      if (Find(attrs.offset_dims, d) < 0) batch_dims.push_back(d);
    }
    const ValueId masked = b_.Select(b_.Broadcast(mine, result.dims, batch_dims), found, b_.Full(result, 0));
    return b_.Convert(masked, Widened(result.dtype));
  }

  // A scatter skips every update whose window does not fit. The updates of other chunks are outside this chunk's slice,
  // so they are skipped.
  ValueId Scatter() {
    const ValueId indices = SignedIndices();
    Shape result = program_.shape(op_.results[0]);
    result.dims[dim_] = size_;
    return b_.AddOp(Opcode::kScatter,
                    {operands_[0], WithComponent(indices, Relative(Component(indices))), operands_[2]}, {result},
                    op_.attrs, op_.regions, program_.location(op_))[0];
  }

  GraphBuilder& b_;
  const graph::Graph& program_;
  const Op& op_;
  const std::vector<ValueId>& operands_;
  const int64_t dim_, chunks_;
  const ValueId chunk_;
  const int64_t whole_size_, size_, vector_dim_, component_;
};

}  // namespace

ValueId EmitIndexedOp(GraphBuilder& builder, const graph::Graph& program, const Op& op,
                      const std::vector<ValueId>& operands, const AxisState& split, int64_t chunks, ValueId chunk) {
  return IndexedOp(builder, program, op, operands, split, chunks, chunk).Emit();
}

}  // namespace alpa::planner
