// Builds ops that only move elements. Each kernel makes one or more strided copies.
#include <algorithm>
#include <memory>

#include "base/status.h"
#include "graph/fusion/view.h"
#include "kernels/cpu/copy.h"
#include "kernels/cpu/index_reader.h"
#include "kernels/cpu/ops.h"

namespace alpa::kernels::cpu {
namespace {

using graph::Opcode;
using graph::Shape;
using Dims = std::vector<int64_t>;

int ElementOf(const Shape& shape) { return static_cast<int>(graph::SizeOf(shape.dtype)); }

// Builds broadcast, slice, transpose and reverse. These ops read the elements of the operand in another order.
BuiltKernel BuildView(const OpContext& c) {
  const Shape& out = c.out_shape();
  BuiltKernel kernel;
  kernel.kind = "move";
  const View view = ViewOf(*c.graph, *c.op);
  Dims dims = view.dims, strides = view.strides;
  if (dims.empty()) dims = {out.elements()}, strides = {0};
  auto copy = std::make_shared<const StridedCopy>(dims, strides, view.offset, graph::Strides(dims), 0, ElementOf(out));
  kernel.run = [copy, in = c.in[0], to = c.out[0]](const Frame& frame) {
    copy->Run(frame.slots[in], frame.slots[to], *frame.pool);
    return absl::OkStatus();
  };
  return kernel;
}

BuiltKernel BuildConcatenate(const OpContext& c) {
  const int64_t dim = c.op->as<graph::DimsAttrs>().dims[0];
  const Dims strides = graph::Strides(c.out_shape().dims);
  auto copies = std::make_shared<std::vector<StridedCopy>>();
  int64_t at = 0;
  for (size_t i = 0; i < c.in.size(); ++i) {
    const Shape& in = c.in_shape(i);
    copies->emplace_back(in.dims, graph::Strides(in.dims), 0, strides, at * strides[dim], ElementOf(in));
    at += in.dims[dim];
  }
  BuiltKernel kernel;
  kernel.kind = "move";
  kernel.run = [copies = std::shared_ptr<const std::vector<StridedCopy>>(copies), in = c.in,
                to = c.out[0]](const Frame& frame) {
    for (size_t i = 0; i < in.size(); ++i) (*copies)[i].Run(frame.slots[in[i]], frame.slots[to], *frame.pool);
    return absl::OkStatus();
  };
  return kernel;
}

BuiltKernel BuildPad(const OpContext& c) {
  const auto& attrs = c.op->as<graph::PadAttrs>();
  const Shape& in = c.in_shape(0);
  const Shape& out = c.out_shape();
  const int element = ElementOf(out);
  const Dims from = graph::Strides(in.dims), strides = graph::Strides(out.dims);
  Dims count = in.dims, to = strides;
  int64_t from_offset = 0, to_offset = 0;
  for (int d = 0; d < in.rank(); ++d) {
    // Operand element i goes to position low + i * step. Elements outside the result are dropped.
    const int64_t step = attrs.interior[d] + 1, low = attrs.low[d];
    const int64_t first = low >= 0 ? 0 : (-low + step - 1) / step;
    const int64_t room = out.dims[d] - 1 - low;
    const int64_t last = room < 0 ? -1 : std::min(in.dims[d] - 1, room / step);
    count[d] = std::max<int64_t>(0, last - first + 1);
    from_offset += first * from[d];
    to_offset += (low + first * step) * strides[d];
    to[d] = step * strides[d];
  }
  auto inside = std::make_shared<const StridedCopy>(count, from, from_offset, to, to_offset, element);
  auto fill = std::make_shared<const StridedCopy>(Dims{out.elements()}, Dims{0}, 0, Dims{1}, 0, element);
  BuiltKernel kernel;
  kernel.kind = "move";
  const bool covered = inside->elements() == out.elements();
  kernel.run = [=, source = c.in[0], value = c.in[1], slot = c.out[0]](const Frame& frame) {
    if (!covered) fill->Run(frame.slots[value], frame.slots[slot], *frame.pool);
    inside->Run(frame.slots[source], frame.slots[slot], *frame.pool);
    return absl::OkStatus();
  };
  return kernel;
}

// Computes the offset of a dynamic slice of `sizes` in an array of `dims`, in elements. Operands [first, first + rank)
// are the starts.
class DynamicStart {
 public:
  DynamicStart(const OpContext& c, size_t first, const Dims& dims, const Dims& sizes) : strides_(graph::Strides(dims)) {
    for (size_t d = 0; d < dims.size(); ++d) {
      slots_.push_back(c.in[first + d]);
      readers_.emplace_back(c.in_shape(first + d).dtype);
      most_.push_back(dims[d] - sizes[d]);
    }
  }
  int64_t operator()(const Frame& frame) const {
    int64_t offset = 0;
    for (size_t d = 0; d < slots_.size(); ++d) {
      offset += std::clamp<int64_t>(readers_[d].Read(frame.slots[slots_[d]], 0), 0, most_[d]) * strides_[d];
    }
    return offset;
  }

 private:
  Dims strides_, most_;
  std::vector<int> slots_;
  std::vector<IndexReader> readers_;
};

BuiltKernel BuildDynamicSlice(const OpContext& c) {
  const Shape& in = c.in_shape(0);
  const Shape& out = c.out_shape();
  const int element = ElementOf(out);
  auto copy =
      std::make_shared<const StridedCopy>(out.dims, graph::Strides(in.dims), 0, graph::Strides(out.dims), 0, element);
  BuiltKernel kernel;
  kernel.kind = "move";
  kernel.run = [=, start = DynamicStart(c, 1, in.dims, out.dims), source = c.in[0],
                slot = c.out[0]](const Frame& frame) {
    copy->Run(frame.slots[source] + start(frame) * element, frame.slots[slot], *frame.pool);
    return absl::OkStatus();
  };
  return kernel;
}

BuiltKernel BuildDynamicUpdateSlice(const OpContext& c) {
  const Shape& out = c.out_shape();
  const Shape& update = c.in_shape(1);
  const int element = ElementOf(out);
  auto copy = std::make_shared<const StridedCopy>(update.dims, graph::Strides(update.dims), 0, graph::Strides(out.dims),
                                                  0, element);
  auto copy_all = std::make_shared<const StridedCopy>(Dims{out.elements()}, Dims{1}, 0, Dims{1}, 0, element);
  BuiltKernel kernel;
  kernel.kind = "update";
  if (c.in[0] != c.in[1]) kernel.shares = {{{c.in[0], Sharing::kUpdate}}};
  kernel.run = [=, start = DynamicStart(c, 2, out.dims, update.dims), in = c.in, slot = c.out[0]](const Frame& frame) {
    // Reads the start first, because the result may overwrite it.
    const int64_t offset = start(frame) * element;
    if (frame.slots[in[0]] != frame.slots[slot]) copy_all->Run(frame.slots[in[0]], frame.slots[slot], *frame.pool);
    copy->Run(frame.slots[in[1]], frame.slots[slot] + offset, *frame.pool);
    return absl::OkStatus();
  };
  return kernel;
}

}  // namespace

absl::StatusOr<BuiltKernel> BuildMovement(const OpContext& context) {
  switch (context.op->opcode) {
    case Opcode::kBroadcast:
    case Opcode::kSlice:
    case Opcode::kTranspose:
    case Opcode::kReverse:
      return BuildView(context);
    case Opcode::kConcatenate:
      return BuildConcatenate(context);
    case Opcode::kPad:
      return BuildPad(context);
    case Opcode::kDynamicSlice:
      return BuildDynamicSlice(context);
    case Opcode::kDynamicUpdateSlice:
      return BuildDynamicUpdateSlice(context);
    default:
      return BuiltKernel{};
  }
}

}  // namespace alpa::kernels::cpu
