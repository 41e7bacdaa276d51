// Ops that create or move elements without arithmetic.
#include <algorithm>

#include "graph/evaluator_internal.h"

namespace alpa::graph::internal {
namespace {

template <typename Raw>
void CopyRow(int64_t n, const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride) {
  const Raw* x = reinterpret_cast<const Raw*>(from);
  Raw* y = reinterpret_cast<Raw*>(to);
  for (int64_t i = 0; i < n; ++i) y[i * to_stride] = x[i * from_stride];
}

using RowCopier = void (*)(int64_t, const std::byte*, int64_t, std::byte*, int64_t);
RowCopier CopierFor(int64_t element) {
  switch (element) {
    case 1: return &CopyRow<uint8_t>;
    case 2: return &CopyRow<uint16_t>;
    case 4: return &CopyRow<uint32_t>;
    default: return &CopyRow<uint64_t>;
  }
}

template <typename T>
void FillIota(const Shape& shape, int64_t dim, T* out) {
  const int64_t inner = Product(std::span(shape.dims).subspan(dim + 1));
  const int64_t size = shape.dims[dim];
  for (int64_t i = 0, n = shape.elements(); i < n; ++i) {
    out[i] = Element<T>::Store(static_cast<WideOf<T>>(i / inner % size));
  }
}

// Returns the start indices of a dynamic slice, clamped so that a slice of `sizes` fits.
Index ClampedStarts(std::span<const Literal> starts, const Index& dims, const Index& sizes) {
  Index clamped(dims.size());
  for (size_t d = 0; d < dims.size(); ++d) {
    clamped[d] = std::clamp<int64_t>(IntegerAt(starts[d], 0), 0, dims[d] - sizes[d]);
  }
  return clamped;
}

int64_t Offset(const Index& position, const Index& strides) {
  int64_t offset = 0;
  for (size_t d = 0; d < position.size(); ++d) offset += position[d] * strides[d];
  return offset;
}

void FillWith(Array& out, const std::byte* element, int64_t size) {
  StridedCopy({out.shape().elements()}, element, {0, {0}}, out.data(), {0, {1}}, size);
}

void Concatenate(const OpCall& call, Array& out) {
  const int64_t dim = call.op.as<DimsAttrs>().dims[0];
  const Index strides = Strides(out.shape().dims);
  int64_t at = 0;
  for (const Literal& operand : call.operands) {
    const Index& dims = operand.shape().dims;
    StridedCopy(dims, operand.bytes().data(), {0, Strides(dims)}, out.data(), {at * strides[dim], strides},
                SizeOf(out.shape().dtype));
    at += dims[dim];
  }
}

void Pad(const OpCall& call, Array& out) {
  const auto& attrs = call.op.as<PadAttrs>();
  const Shape& in = call.operands[0].shape();
  const int64_t element = SizeOf(in.dtype);
  FillWith(out, call.operands[1].bytes().data(), element);
  const Index in_strides = Strides(in.dims), out_strides = Strides(out.shape().dims);
  Strided from{0, in_strides}, to{0, out_strides};
  Index count = in.dims;
  for (int d = 0; d < in.rank(); ++d) {
    // Element i moves to position low + i * step. Only the elements that stay inside the result are copied.
    const int64_t step = attrs.interior[d] + 1, low = attrs.low[d];
    const int64_t first = low >= 0 ? 0 : (-low + step - 1) / step;
    const int64_t room = out.shape().dims[d] - 1 - low;
    const int64_t last = room < 0 ? -1 : std::min(in.dims[d] - 1, room / step);
    count[d] = std::max<int64_t>(0, last - first + 1);
    if (count[d] == 0) return;
    from.offset += first * in_strides[d];
    to.offset += (low + first * step) * out_strides[d];
    to.strides[d] = step * out_strides[d];
  }
  StridedCopy(count, call.operands[0].bytes().data(), from, out.data(), to, element);
}

// Returns the strided view of the operand that holds the elements of the result.
// REQUIRES: a broadcast, transpose, reverse, slice or dynamic slice.
Strided ViewOf(const OpCall& call) {
  const Shape& in = call.operands[0].shape();
  const Shape& out = call.result_shape();
  const Index strides = Strides(in.dims);
  Strided view{0, Index(out.dims.size(), 0)};
  switch (call.op.opcode) {
    case Opcode::kBroadcast: {
      const Index& dims = call.op.as<DimsAttrs>().dims;
      for (size_t i = 0; i < dims.size(); ++i) view.strides[dims[i]] = in.dims[i] == 1 ? 0 : strides[i];
      break;
    }
    case Opcode::kTranspose: {
      const Index& dims = call.op.as<DimsAttrs>().dims;
      for (size_t i = 0; i < dims.size(); ++i) view.strides[i] = strides[dims[i]];
      break;
    }
    case Opcode::kReverse:
      view.strides = strides;
      for (int64_t d : call.op.as<DimsAttrs>().dims) {
        view.offset += (in.dims[d] - 1) * strides[d];
        view.strides[d] = -strides[d];
      }
      break;
    case Opcode::kSlice: {
      const auto& attrs = call.op.as<SliceAttrs>();
      for (size_t d = 0; d < strides.size(); ++d) {
        view.offset += attrs.starts[d] * strides[d];
        view.strides[d] = attrs.strides[d] * strides[d];
      }
      break;
    }
    default:  // dynamic slice
      view.offset = Offset(ClampedStarts(call.operands.subspan(1), in.dims, out.dims), strides);
      view.strides = strides;
  }
  return view;
}

}  // namespace

void StridedCopy(const Index& dims, const std::byte* from, const Strided& from_view, std::byte* to,
                 const Strided& to_view, int64_t element) {
  const RowCopier copy = CopierFor(element);
  if (dims.empty()) {
    copy(1, from + from_view.offset * element, 0, to + to_view.offset * element, 0);
    return;
  }
  for (int64_t d : dims) {
    if (d == 0) return;
  }
  const size_t last = dims.size() - 1;
  const std::span<const int64_t> outer(dims.data(), last);
  Index index(last, 0);
  do {
    int64_t source = from_view.offset, target = to_view.offset;
    for (size_t d = 0; d < last; ++d) {
      source += index[d] * from_view.strides[d];
      target += index[d] * to_view.strides[d];
    }
    copy(dims[last], from + source * element, from_view.strides[last], to + target * element, to_view.strides[last]);
  } while (Next(index, outer));
}

Results EvaluateMovement(const OpCall& call) {
  const Shape& shape = call.result_shape();
  Array out(shape);
  const int64_t element = SizeOf(shape.dtype);
  switch (call.op.opcode) {
    case Opcode::kIota:
      VisitDType(shape.dtype,
                 [&]<typename T>() { FillIota(shape, call.op.as<DimsAttrs>().dims[0], out.as<T>()); });
      return One(std::move(out));
    case Opcode::kReshape:
      // A reshape changes only the shape, so the bytes stay the same.
      if (shape.bytes() > 0) std::memcpy(out.data(), call.operands[0].bytes().data(), shape.bytes());
      return One(std::move(out));
    case Opcode::kConcatenate: Concatenate(call, out); return One(std::move(out));
    case Opcode::kPad: Pad(call, out); return One(std::move(out));
    case Opcode::kDynamicUpdateSlice: {
      const Shape& update = call.operands[1].shape();
      const Index strides = Strides(shape.dims);
      if (shape.bytes() > 0) std::memcpy(out.data(), call.operands[0].bytes().data(), shape.bytes());
      const Index starts = ClampedStarts(call.operands.subspan(2), shape.dims, update.dims);
      StridedCopy(update.dims, call.operands[1].bytes().data(), {0, Strides(update.dims)}, out.data(),
                  {Offset(starts, strides), strides}, element);
      return One(std::move(out));
    }
    case Opcode::kBroadcast:
    case Opcode::kTranspose:
    case Opcode::kReverse:
    case Opcode::kSlice:
    case Opcode::kDynamicSlice:
      StridedCopy(shape.dims, call.operands[0].bytes().data(), ViewOf(call), out.data(), {0, Strides(shape.dims)},
                  element);
      return One(std::move(out));
    default: return Unimplemented("the evaluator does not support %s", std::string(NameOf(call.op.opcode)));
  }
}

}  // namespace alpa::graph::internal
