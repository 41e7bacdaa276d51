#include <limits>

#include "base/status.h"
#include "graph/infer_rules.h"

namespace alpa::graph::internal {
namespace {

absl::Status CheckScalarIndices(const Shapes& operands, size_t first, int64_t rank) {
  if (static_cast<int64_t>(operands.size() - first) != rank) {
    return InvalidArgument("has %d start indices for an array of rank %d", operands.size() - first, rank);
  }
  for (size_t i = first; i < operands.size(); ++i) {
    if (operands[i].rank() != 0 || !IsInteger(operands[i].dtype)) {
      return InvalidArgument("start index %d is %s, not an integer scalar", i - first,
                             operands[i].ToString());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Shape> InferBroadcast(const Shape& operand, const DimsAttrs& attrs, const Shape& declared) {
  if (static_cast<int>(attrs.dims.size()) != operand.rank()) {
    return InvalidArgument("maps %d dimensions, but the operand has rank %d", attrs.dims.size(), operand.rank());
  }
  ALPA_RETURN_IF_ERROR(CheckDims(attrs.dims, declared.rank(), "broadcast dimensions"));
  for (size_t i = 0; i < attrs.dims.size(); ++i) {
    if (operand.dims[i] != declared.dims[attrs.dims[i]]) {
      return InvalidArgument("operand dimension %d of %s becomes dimension %d of %s: sizes differ", i,
                             operand.ToString(), attrs.dims[i], declared.ToString());
    }
  }
  return Shape{operand.dtype, declared.dims};
}

absl::StatusOr<Shape> InferConcatenate(const Shapes& operands, const DimsAttrs& attrs) {
  if (operands.empty()) return InvalidArgument("has no operands");
  if (attrs.dims.size() != 1) return InvalidArgument("needs one dimension, found %s", Join(attrs.dims));
  const int64_t dim = attrs.dims[0];
  Shape result = operands[0];
  ALPA_RETURN_IF_ERROR(CheckDims(attrs.dims, result.rank(), "concatenated dimension"));
  int64_t total = 0;
  for (const Shape& operand : operands) {
    Shape like = operand;
    if (like.rank() == result.rank()) like.dims[dim] = result.dims[dim];
    if (like != operands[0]) {
      return InvalidArgument("operands %s and %s do not fit together along dimension %d", operands[0].ToString(),
                             operand.ToString(), dim);
    }
    if (__builtin_add_overflow(total, operand.dims[dim], &total))
      return InvalidArgument("the size of the result does not fit in 64 bits");
  }
  result.dims[dim] = total;
  return result;
}

absl::StatusOr<Shape> InferDynamicSlice(const Shapes& operands, const DynamicSliceAttrs& attrs) {
  if (operands.empty()) return InvalidArgument("has no operands");
  const Shape& array = operands[0];
  ALPA_RETURN_IF_ERROR(CheckScalarIndices(operands, 1, array.rank()));
  if (static_cast<int>(attrs.sizes.size()) != array.rank()) {
    return InvalidArgument("has %d sizes for an array of rank %d", attrs.sizes.size(), array.rank());
  }
  for (int i = 0; i < array.rank(); ++i) {
    if (attrs.sizes[i] < 0 || attrs.sizes[i] > array.dims[i]) {
      return InvalidArgument("size %d in dimension %d is outside [0, %d]", attrs.sizes[i], i, array.dims[i]);
    }
  }
  return Shape{array.dtype, attrs.sizes};
}

absl::StatusOr<Shape> InferDynamicUpdateSlice(const Shapes& operands) {
  if (operands.size() < 2)
    return InvalidArgument("has %d operands, but needs an array, an update and start indices", operands.size());
  const Shape& array = operands[0];
  const Shape& update = operands[1];
  ALPA_RETURN_IF_ERROR(CheckScalarIndices(operands, 2, array.rank()));
  bool fits = update.dtype == array.dtype && update.rank() == array.rank();
  for (int i = 0; fits && i < array.rank(); ++i) fits = update.dims[i] <= array.dims[i];
  if (!fits) return InvalidArgument("update %s does not fit in %s", update.ToString(), array.ToString());
  return array;
}

absl::StatusOr<Shape> InferPad(const Shapes& operands, const PadAttrs& attrs) {
  if (operands.size() != 2)
    return InvalidArgument("has %d operands, but needs an array and a padding value", operands.size());
  const Shape& array = operands[0];
  if (operands[1] != Shape{array.dtype, {}}) {
    return InvalidArgument("padding value is %s, but must be %s[]", operands[1].ToString(), NameOf(array.dtype));
  }
  const size_t rank = array.dims.size();
  if (attrs.low.size() != rank || attrs.high.size() != rank || attrs.interior.size() != rank) {
    return InvalidArgument("has padding for %d dimensions, but the array is %s", attrs.low.size(), array.ToString());
  }
  Shape result = array;
  for (size_t i = 0; i < rank; ++i) {
    if (attrs.interior[i] < 0) return InvalidArgument("interior padding %d is negative", attrs.interior[i]);
    const __int128 gaps = array.dims[i] > 0 ? array.dims[i] - 1 : 0;
    const __int128 size =
        static_cast<__int128>(array.dims[i]) + attrs.low[i] + attrs.high[i] + gaps * attrs.interior[i];
    if (size < 0 || size > std::numeric_limits<int64_t>::max()) {
      return InvalidArgument("after padding, the size of dimension %d of %s would be out of range", i,
                             array.ToString());
    }
    result.dims[i] = static_cast<int64_t>(size);
  }
  return result;
}

absl::StatusOr<Shape> InferReshape(const Shape& operand, const Shape& declared) {
  if (operand.elements() != declared.elements()) {
    return InvalidArgument("%s has %d elements, %s has %d", operand.ToString(), operand.elements(),
                           declared.ToString(), declared.elements());
  }
  return Shape{operand.dtype, declared.dims};
}

absl::StatusOr<Shape> InferReverse(const Shape& operand, const DimsAttrs& attrs) {
  ALPA_RETURN_IF_ERROR(CheckDims(attrs.dims, operand.rank(), "reversed dimensions"));
  return operand;
}

absl::StatusOr<Shape> InferSlice(const Shape& operand, const SliceAttrs& attrs) {
  const size_t rank = operand.dims.size();
  if (attrs.starts.size() != rank || attrs.limits.size() != rank || attrs.strides.size() != rank) {
    return InvalidArgument("has bounds for %d dimensions, but the operand is %s", attrs.starts.size(),
                           operand.ToString());
  }
  Shape result = operand;
  for (size_t i = 0; i < rank; ++i) {
    const int64_t start = attrs.starts[i], limit = attrs.limits[i], stride = attrs.strides[i];
    if (start < 0 || limit < start || limit > operand.dims[i] || stride < 1) {
      return InvalidArgument("[%d:%d:%d] is not a valid range of dimension %d of %s", start, limit, stride, i,
                             operand.ToString());
    }
    result.dims[i] = (limit - start) / stride + ((limit - start) % stride != 0 ? 1 : 0);
  }
  return result;
}

absl::StatusOr<Shape> InferTranspose(const Shape& operand, const DimsAttrs& attrs) {
  if (static_cast<int>(attrs.dims.size()) != operand.rank()) {
    return InvalidArgument("permutation %s must have one entry per dimension of %s", Join(attrs.dims),
                           operand.ToString());
  }
  ALPA_RETURN_IF_ERROR(CheckDims(attrs.dims, operand.rank(), "permutation"));
  Shape result = operand;
  for (size_t i = 0; i < attrs.dims.size(); ++i) result.dims[i] = operand.dims[attrs.dims[i]];
  return result;
}

absl::StatusOr<Shape> InferBitcastConvert(const Shape& operand, const Shape& declared) {
  if ((operand.dtype == DType::kPred) != (declared.dtype == DType::kPred)) {
    return InvalidArgument("cannot reinterpret %s as %s: only one of them is pred", operand.ToString(),
                           declared.ToString());
  }
  const Bytes from = SizeOf(operand.dtype), to = SizeOf(declared.dtype);
  Shape result{declared.dtype, operand.dims};
  if (to < from) {
    result.dims.push_back(from / to);
  } else if (to > from) {
    if (operand.dims.empty() || operand.dims.back() != to / from) {
      return InvalidArgument("%s needs a last dimension of %d to become %s", operand.ToString(), to / from,
                             NameOf(declared.dtype));
    }
    result.dims.pop_back();
  }
  return result;
}

}  // namespace alpa::graph::internal
