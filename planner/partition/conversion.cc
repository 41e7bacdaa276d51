#include "planner/partition/conversion.h"

#include "planner/lower/local_op.h"
#include "planner/strategy/rules.h"

namespace alpa::planner {

using graph::DType;
using graph::Opcode;
using graph::ReduceKind;
using graph::Shape;
using graph::ValueId;

bool ReplicatedFirst(const AxisState& made, const std::vector<AxisState>& wanted, int64_t n) {
  if (made.replicated()) return false;
  int64_t splits = 0;
  bool whole = false, plain = !made.split() || made.outer == 1;  // plain: all splits are contiguous (for all-to-all)
  for (const AxisState& state : wanted) {
    if (state == made) continue;
    if (!state.split() || (made.split() && made.dim == state.dim)) {
      whole = true;
      continue;
    }
    plain = plain && state.outer == 1;
    ++splits;
  }
  if (made.split()) return whole || (splits > 0 && (!plain || splits > n));
  // For a partial value, a reduce-scatter followed by an all-gather costs the same as an all-reduce. Therefore, if only
  // one split is needed, the replicated form saves nothing. Without the replicated form, a reduce-scatter produces the
  // first split, and an all-to-all converts this split to each other split.
  return splits > 1 && (whole || !plain || splits - 1 > n);
}

ValueId Converter::Convert(ValueId local, const Shape& whole, const AxisState& from, const AxisState& to) {
  if (from == to) return local;
  if (to.partial()) {
    if (!from.replicated()) local = Convert(local, whole, from, AxisState::Replicated());
    return OnFirstDevice(builder_.Convert(local, Widened(whole.dtype)), to.reduce);
  }
  if (from.partial()) {
    const ValueId reduced = to.split() ? ReduceScatter(local, whole, from.reduce, to)
                                       : builder_.AllReduce({local}, {axis_.index}, from.reduce)[0];
    return builder_.Convert(reduced, whole.dtype);
  }
  if (from.replicated()) return SliceChunk(builder_, local, to, axis_.size, Coordinate());
  if (to.split() && from.dim != to.dim && from.outer == 1 && to.outer == 1) {
    graph::CollectiveAttrs attrs;
    attrs.dim = to.dim;
    attrs.concat_dim = from.dim;
    return Collective(Opcode::kAllToAll, local, ChunkDims(whole.dims, to, axis_.size), attrs);
  }
  const ValueId gathered = Gather(local, whole, from);
  return to.split() ? SliceChunk(builder_, gathered, to, axis_.size, Coordinate()) : gathered;
}

ValueId Converter::Coordinate() {
  if (!coordinate_.valid()) {
    graph::CollectiveAttrs attrs;
    attrs.mesh_axes = {axis_.index};
    coordinate_ = builder_.AddOp(Opcode::kAxisIndex, {}, {{DType::kS32, {}}}, attrs)[0];
  }
  return coordinate_;
}

ValueId Converter::Collective(Opcode opcode, ValueId operand, std::vector<int64_t> result_dims,
                              graph::CollectiveAttrs attrs) {
  attrs.mesh_axes = {axis_.index};
  return builder_.AddOp(opcode, {operand}, {{builder_.shape(operand).dtype, std::move(result_dims)}}, attrs)[0];
}

// If the split is along a factor of the dimension (outer > 1), gathers [outer, 1, inner] to [outer, n, inner].
ValueId Converter::Gather(ValueId local, const Shape& whole, const AxisState& from) {
  graph::CollectiveAttrs attrs;
  attrs.dim = from.dim;
  if (from.outer == 1) return Collective(Opcode::kAllGather, local, whole.dims, attrs);
  std::vector<int64_t> factored = FactoredDims(whole.dims, from, axis_.size);
  std::vector<int64_t> mine = factored;
  mine[from.dim + 1] = 1;
  attrs.dim = from.dim + 1;
  return builder_.Reshape(Collective(Opcode::kAllGather, builder_.Reshape(local, mine), factored, attrs), whole.dims);
}

ValueId Converter::ReduceScatter(ValueId local, const Shape& whole, ReduceKind kind, const AxisState& to) {
  graph::CollectiveAttrs attrs;
  attrs.kind = kind;
  attrs.dim = to.dim;
  const std::vector<int64_t> tile = ChunkDims(whole.dims, to, axis_.size);
  if (to.outer == 1) return Collective(Opcode::kReduceScatter, local, tile, attrs);
  std::vector<int64_t> factored = FactoredDims(whole.dims, to, axis_.size);
  const ValueId operand = builder_.Reshape(local, factored);
  attrs.dim = to.dim + 1;
  factored[to.dim + 1] = 1;
  return builder_.Reshape(Collective(Opcode::kReduceScatter, operand, factored, attrs), tile);
}

// Returns `value` as a term of a reduction: the value on the first device, the identity on the others. If the reduction
// is idempotent, all devices keep the value.
ValueId Converter::OnFirstDevice(ValueId value, ReduceKind kind) {
  if (kind != ReduceKind::kSum && kind != ReduceKind::kProduct) return value;
  const Shape shape = builder_.shape(value);
  const ValueId first = builder_.Compare(graph::CompareDirection::kEq, Coordinate(), builder_.Scalar(DType::kS32, 0));
  const ValueId identity =
      builder_.Broadcast(builder_.Constant(graph::ReduceIdentity(kind, shape.dtype)), shape.dims, {});
  return builder_.Select(builder_.Broadcast(first, shape.dims, {}), value, identity);
}

}  // namespace alpa::planner
