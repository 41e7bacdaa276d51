#include <algorithm>
#include <limits>

#include "base/status.h"
#include "graph/infer_rules.h"

namespace alpa::graph::internal {
namespace {

// Returns the number of positions of a dilated window over a padded dimension of `size` elements.
absl::StatusOr<int64_t> WindowPositions(int64_t size, const WindowDim& w) {
  if (w.size < 1 || w.stride < 1 || w.window_dilation < 1 || w.base_dilation < 1) {
    return InvalidArgument("window size %d, stride %d and dilations %d, %d must be positive", w.size,
                           w.stride, w.window_dilation, w.base_dilation);
  }
  const __int128 base = size == 0 ? 0 : static_cast<__int128>(size - 1) * w.base_dilation + 1;
  const __int128 padded = base + w.padding_low + w.padding_high;
  const __int128 window = static_cast<__int128>(w.size - 1) * w.window_dilation + 1;
  if (padded < 0 || padded > std::numeric_limits<int64_t>::max()) {
    return InvalidArgument("with a padding of %d and %d, a dimension of size %d would be out of range", w.padding_low,
                           w.padding_high, size);
  }
  if (padded < window) return 0;
  return static_cast<int64_t>((padded - window) / w.stride + 1);
}

absl::StatusOr<Shape> Windowed(const Shape& array, const WindowAttrs& attrs) {
  if (static_cast<int>(attrs.window.size()) != array.rank()) {
    return InvalidArgument("window has %d dimensions, but the array is %s", attrs.window.size(),
                           array.ToString());
  }
  Shape result = array;
  for (int i = 0; i < array.rank(); ++i) {
    ALPA_ASSIGN_OR_RETURN(result.dims[i], WindowPositions(array.dims[i], attrs.window[i]));
  }
  return result;
}

// Checks the operands (n arrays of the same size, then n initial scalars) and the region (2n scalars -> n scalars).
absl::Status CheckVariadic(const Shapes& operands, const Graph& region) {
  if (operands.empty() || operands.size() % 2 != 0) {
    return InvalidArgument("has %d operands, but needs n arrays and n initial values", operands.size());
  }
  const size_t n = operands.size() / 2;
  Shapes scalars;
  for (size_t i = 0; i < n; ++i) {
    if (operands[i].dims != operands[0].dims) {
      return InvalidArgument("arrays %s and %s differ in size", operands[0].ToString(),
                             operands[i].ToString());
    }
    scalars.push_back(Shape{operands[i].dtype, {}});
    if (operands[n + i] != scalars[i]) {
      return InvalidArgument("initial value %d is %s, but must be %s", i, operands[n + i].ToString(),
                             scalars[i].ToString());
    }
  }
  Shapes parameters = scalars;
  parameters.insert(parameters.end(), scalars.begin(), scalars.end());
  return CheckRegion(region, parameters, scalars, "combiner");
}

bool Contains(const std::vector<int64_t>& dims, int64_t dim) {
  return std::find(dims.begin(), dims.end(), dim) != dims.end();
}

}  // namespace

absl::StatusOr<Shape> InferDot(const Shapes& operands, const DotAttrs& attrs, DType result_dtype) {
  if (operands.size() != 2) return InvalidArgument("has %d operands, but needs 2", operands.size());
  const Shape& lhs = operands[0];
  const Shape& rhs = operands[1];
  if (lhs.dtype == DType::kPred || rhs.dtype == DType::kPred || result_dtype == DType::kPred) {
    return InvalidArgument("does not support pred");
  }
  if (IsFloat(lhs.dtype) != IsFloat(result_dtype) || IsFloat(rhs.dtype) != IsFloat(result_dtype)) {
    return InvalidArgument("%s and %s cannot give %s", lhs.ToString(), rhs.ToString(), NameOf(result_dtype));
  }
  std::vector<int64_t> lhs_used = attrs.lhs_batch, rhs_used = attrs.rhs_batch;
  lhs_used.insert(lhs_used.end(), attrs.lhs_contracting.begin(), attrs.lhs_contracting.end());
  rhs_used.insert(rhs_used.end(), attrs.rhs_contracting.begin(), attrs.rhs_contracting.end());
  ALPA_RETURN_IF_ERROR(CheckDims(lhs_used, lhs.rank(), "left dimensions"));
  ALPA_RETURN_IF_ERROR(CheckDims(rhs_used, rhs.rank(), "right dimensions"));
  if (attrs.lhs_batch.size() != attrs.rhs_batch.size() || lhs_used.size() != rhs_used.size()) {
    return InvalidArgument("left and right operand differ in the number of batch or contracting dimensions");
  }
  for (size_t i = 0; i < lhs_used.size(); ++i) {
    if (lhs.dims[lhs_used[i]] != rhs.dims[rhs_used[i]]) {
      return InvalidArgument("dimension %d of %s does not match dimension %d of %s", lhs_used[i],
                             lhs.ToString(), rhs_used[i], rhs.ToString());
    }
  }
  Shape result{result_dtype, {}};
  for (int64_t dim : attrs.lhs_batch) result.dims.push_back(lhs.dims[dim]);
  for (int64_t i = 0; i < lhs.rank(); ++i) {
    if (!Contains(lhs_used, i)) result.dims.push_back(lhs.dims[i]);
  }
  for (int64_t i = 0; i < rhs.rank(); ++i) {
    if (!Contains(rhs_used, i)) result.dims.push_back(rhs.dims[i]);
  }
  return result;
}

absl::StatusOr<Shape> InferConvolution(const Shapes& operands, const ConvolutionAttrs& attrs,
                                       DType result_dtype) {
  if (operands.size() != 2) return InvalidArgument("has %d operands, but needs 2", operands.size());
  const Shape& input = operands[0];
  const Shape& kernel = operands[1];
  const size_t spatial = attrs.window.size();
  if (attrs.input_spatial.size() != spatial || attrs.kernel_spatial.size() != spatial ||
      attrs.output_spatial.size() != spatial) {
    return InvalidArgument(
        "window has %d dimensions; the input, kernel and output must have as many spatial dimensions", spatial);
  }
  if (input.dims.size() != spatial + 2 || kernel.dims.size() != spatial + 2) {
    return InvalidArgument("%s and %s do not both have %d spatial dimensions", input.ToString(),
                           kernel.ToString(), spatial);
  }
  const auto all = [](int64_t a, int64_t b, std::vector<int64_t> dims) {
    dims.push_back(a);
    dims.push_back(b);
    return dims;
  };
  const int64_t rank = static_cast<int64_t>(spatial) + 2;
  ALPA_RETURN_IF_ERROR(
      CheckDims(all(attrs.input_batch, attrs.input_feature, attrs.input_spatial), rank, "input dimensions"));
  ALPA_RETURN_IF_ERROR(CheckDims(
      all(attrs.kernel_input_feature, attrs.kernel_output_feature, attrs.kernel_spatial), rank, "kernel dimensions"));
  ALPA_RETURN_IF_ERROR(
      CheckDims(all(attrs.output_batch, attrs.output_feature, attrs.output_spatial), rank, "output dimensions"));
  const int64_t groups = attrs.feature_group_count, batch_groups = attrs.batch_group_count;
  if (groups < 1 || batch_groups < 1 || (groups > 1 && batch_groups > 1)) {
    return InvalidArgument("feature groups %d and batch groups %d: both must be positive, and one of them must be 1",
                           groups, batch_groups);
  }
  const int64_t batch = input.dims[attrs.input_batch], features = input.dims[attrs.input_feature];
  const int64_t kernel_features = kernel.dims[attrs.kernel_input_feature];
  const int64_t output_features = kernel.dims[attrs.kernel_output_feature];
  if (features % groups != 0 || features / groups != kernel_features || output_features % groups != 0 ||
      output_features % batch_groups != 0 || batch % batch_groups != 0) {
    return InvalidArgument("features of %s and %s do not match (feature groups %d, batch groups %d)",
                           input.ToString(), kernel.ToString(), groups, batch_groups);
  }
  Shape result{result_dtype, std::vector<int64_t>(rank)};
  result.dims[attrs.output_batch] = batch / batch_groups;
  result.dims[attrs.output_feature] = output_features;
  for (size_t i = 0; i < spatial; ++i) {
    if (attrs.window[i].size != kernel.dims[attrs.kernel_spatial[i]]) {
      return InvalidArgument("window size %d does not match kernel %s", attrs.window[i].size,
                             kernel.ToString());
    }
    ALPA_ASSIGN_OR_RETURN(result.dims[attrs.output_spatial[i]],
                          WindowPositions(input.dims[attrs.input_spatial[i]], attrs.window[i]));
  }
  return result;
}

absl::StatusOr<Shapes> InferReduce(const Shapes& operands, const DimsAttrs& attrs, const Graph& region) {
  ALPA_RETURN_IF_ERROR(CheckVariadic(operands, region));
  ALPA_RETURN_IF_ERROR(CheckDims(attrs.dims, operands[0].rank(), "reduced dimensions"));
  Shapes results;
  for (size_t i = 0; i < operands.size() / 2; ++i) {
    Shape result{operands[i].dtype, {}};
    for (int64_t d = 0; d < operands[i].rank(); ++d) {
      if (!Contains(attrs.dims, d)) result.dims.push_back(operands[i].dims[d]);
    }
    results.push_back(std::move(result));
  }
  return results;
}

absl::StatusOr<Shapes> InferReduceWindow(const Shapes& operands, const WindowAttrs& attrs,
                                         const Graph& region) {
  ALPA_RETURN_IF_ERROR(CheckVariadic(operands, region));
  Shapes results;
  for (size_t i = 0; i < operands.size() / 2; ++i) {
    ALPA_ASSIGN_OR_RETURN(Shape result, Windowed(operands[i], attrs));
    results.push_back(std::move(result));
  }
  return results;
}

absl::StatusOr<Shape> InferSelectAndScatter(const Shapes& operands, const WindowAttrs& attrs,
                                            const Graph& select, const Graph& scatter) {
  if (operands.size() != 3)
    return InvalidArgument("has %d operands, but needs an array, a source and an initial value", operands.size());
  const Shape scalar{operands[0].dtype, {}};
  const Shape predicate{DType::kPred, {}};
  if (operands[2] != scalar) {
    return InvalidArgument("initial value is %s, but must be a scalar of the array's element type",
                           operands[2].ToString());
  }
  for (const WindowDim& w : attrs.window) {
    if (w.base_dilation != 1 || w.window_dilation != 1)
      return InvalidArgument("dilated windows are not allowed");
  }
  ALPA_ASSIGN_OR_RETURN(const Shape windowed, Windowed(operands[0], attrs));
  if (operands[1] != windowed) {
    return InvalidArgument("source is %s, but the window gives %s", operands[1].ToString(), windowed.ToString());
  }
  ALPA_RETURN_IF_ERROR(CheckRegion(select, {scalar, scalar}, {predicate}, "selector"));
  ALPA_RETURN_IF_ERROR(CheckRegion(scatter, {scalar, scalar}, {scalar}, "combiner"));
  return operands[0];
}

}  // namespace alpa::graph::internal
