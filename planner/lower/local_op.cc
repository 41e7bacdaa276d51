#include "planner/lower/local_op.h"

#include <algorithm>

#include "base/status.h"
#include "planner/lower/indexed_op.h"
#include "planner/strategy/rules.h"

namespace alpa::planner {

using graph::DType;
using graph::GraphBuilder;
using graph::Op;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;

namespace {

graph::Attributes LocalAttributes(const graph::Graph& program, const Op& op,
                                  const std::vector<AxisState>& operand_states,
                                  const std::vector<AxisState>& result_states, int64_t chunks) {
  graph::Attributes attrs = op.attrs;
  if (op.opcode == Opcode::kSlice && result_states[0].split()) {
    auto& slice = std::get<graph::SliceAttrs>(attrs);
    slice.starts[operand_states[0].dim] /= chunks;
    slice.limits[operand_states[0].dim] /= chunks;
  } else if (op.opcode == Opcode::kPad && result_states[0].split()) {
    auto& pad = std::get<graph::PadAttrs>(attrs);
    pad.low[operand_states[0].dim] /= chunks;
    pad.high[operand_states[0].dim] /= chunks;
  } else if (op.opcode == Opcode::kDynamicSlice && result_states[0].split()) {
    std::get<graph::DynamicSliceAttrs>(attrs).sizes[result_states[0].dim] /= chunks;
  } else if (op.opcode == Opcode::kGather && operand_states[0].split()) {
    auto& gather = std::get<graph::GatherAttrs>(attrs);
    const int64_t dim = operand_states[0].dim;
    const auto& batching = gather.operand_batching_dims;
    if (std::find(batching.begin(), batching.end(), dim) == batching.end()) gather.slice_sizes[dim] /= chunks;
  }
  return attrs;
}

// Writes the chunk's slice of an iota. The slice is computed as [outer, inner]: in each outer block, the chunk's
// elements start at chunk * inner.
ValueId LocalIota(GraphBuilder& builder, const Shape& shape, int64_t dim, const AxisState& split, int64_t chunks,
                  ValueId chunk) {
  const std::vector<int64_t> local = ChunkDims(shape.dims, split, chunks);
  if (split.dim != dim) return builder.Iota({shape.dtype, local}, dim);
  const int64_t inner = shape.dims[dim] / split.outer / chunks;
  const DType compute = graph::IsFloat(shape.dtype) || shape.dtype == DType::kPred ? DType::kS32 : shape.dtype;
  const Shape factored{compute, {split.outer, inner}};
  auto full = [&](ValueId scalar) { return builder.Broadcast(scalar, factored.dims, {}); };
  ValueId block = builder.Binary(Opcode::kMultiply, builder.Iota(factored, 0),
                                 full(builder.Scalar(compute, static_cast<double>(inner * chunks))));
  ValueId start = builder.Binary(Opcode::kMultiply, builder.Convert(chunk, compute),
                                 builder.Scalar(compute, static_cast<double>(inner)));
  ValueId index =
      builder.Binary(Opcode::kAdd, builder.Binary(Opcode::kAdd, block, builder.Iota(factored, 1)), full(start));
  index = builder.Convert(builder.Reshape(index, {split.outer * inner}), shape.dtype);
  return builder.Broadcast(index, local, {dim});
}

}  // namespace

std::vector<ValueId> EmitLocalOp(GraphBuilder& builder, const graph::Graph& program, const Op& op,
                                 const std::vector<ValueId>& operands, const std::vector<AxisState>& operand_states,
                                 const std::vector<AxisState>& result_states, int64_t chunks,
                                 const std::function<ValueId()>& chunk) {
  const Shape& first = program.shape(op.results[0]);
  if (op.opcode == Opcode::kIota && result_states[0].split()) {
    return {LocalIota(builder, first, op.as<graph::DimsAttrs>().dims[0], result_states[0], chunks, chunk())};
  }
  const bool indexes = op.opcode == Opcode::kGather || op.opcode == Opcode::kScatter;
  if (indexes && operand_states[0].split() && IndexesAlong(program, op, operand_states[0].dim)) {
    return {EmitIndexedOp(builder, program, op, operands, operand_states[0], chunks, chunk())};
  }
  // A partial sum of 16-bit floats is f32, so its operands are widened too. A matrix product is the exception: it reads
  // 16-bit operands and returns f32.
  const bool widen = result_states[0].partial() && Widened(first.dtype) != first.dtype;
  if (op.opcode == Opcode::kConvert) {
    return {builder.Convert(operands[0], result_states[0].partial() ? Widened(first.dtype) : first.dtype)};
  }
  std::vector<ValueId> inputs = operands;
  std::vector<std::shared_ptr<const graph::Graph>> regions = op.regions;
  if (widen) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const DType dtype = builder.shape(inputs[i]).dtype;
      if (op.opcode != Opcode::kDot && dtype == first.dtype) inputs[i] = builder.Convert(inputs[i], Widened(dtype));
    }
    if (!regions.empty()) regions = {graph::ReduceRegion(result_states[0].reduce, Widened(first.dtype))};
  }
  std::vector<Shape> shapes;
  for (size_t r = 0; r < op.results.size(); ++r) {
    const Shape& whole = program.shape(op.results[r]);
    shapes.push_back({widen ? Widened(whole.dtype) : whole.dtype, ChunkDims(whole.dims, result_states[r], chunks)});
  }
  return builder.AddOp(op.opcode, std::move(inputs), std::move(shapes),
                       LocalAttributes(program, op, operand_states, result_states, chunks), std::move(regions),
                       program.location(op));
}

std::vector<int64_t> FactoredDims(const std::vector<int64_t>& dims, const AxisState& split, int64_t chunks) {
  std::vector<int64_t> factored(dims.begin(), dims.begin() + split.dim);
  factored.insert(factored.end(), {split.outer, chunks, dims[split.dim] / split.outer / chunks});
  factored.insert(factored.end(), dims.begin() + split.dim + 1, dims.end());
  return factored;
}

ValueId SliceChunk(GraphBuilder& builder, ValueId whole, const AxisState& split, int64_t chunks, ValueId chunk) {
  const Shape shape = builder.shape(whole);
  const std::vector<int64_t> local = ChunkDims(shape.dims, split, chunks);
  const ValueId zero = builder.Scalar(DType::kS32, 0);
  if (split.outer == 1) {
    std::vector<ValueId> starts(shape.rank(), zero);
    starts[split.dim] = builder.Binary(Opcode::kMultiply, chunk,
                                       builder.Scalar(DType::kS32, static_cast<double>(local[split.dim])));
    return builder.DynamicSlice(whole, starts, local);
  }
  std::vector<int64_t> factored = FactoredDims(shape.dims, split, chunks);
  std::vector<ValueId> starts(factored.size(), zero);
  starts[split.dim + 1] = chunk;
  std::vector<int64_t> sizes = factored;
  sizes[split.dim + 1] = 1;
  return builder.Reshape(builder.DynamicSlice(builder.Reshape(whole, factored), starts, sizes), local);
}

}  // namespace alpa::planner
