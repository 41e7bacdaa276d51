// Shape rules of gather and scatter, as XLA defines them (https://openxla.org/xla/operation_semantics#gather).
#include <algorithm>

#include "base/status.h"
#include "graph/infer_rules.h"

namespace alpa::graph::internal {
namespace {

bool Contains(const std::vector<int64_t>& dims, int64_t dim) {
  return std::find(dims.begin(), dims.end(), dim) != dims.end();
}

absl::Status CheckSorted(const std::vector<int64_t>& dims, const char* what) {
  if (!std::is_sorted(dims.begin(), dims.end()))
    return InvalidArgument("%s %s are not sorted", what, Join(dims));
  return absl::OkStatus();
}

// The shapes and attributes that gather and scatter share. Vectors in `indices` address windows of `array`.
struct Addressing {
  const Shape& array;
  const Shape& indices;
  int64_t index_vector_dim;
  const std::vector<int64_t>& removed;           // array dimensions that a window does not have
  const std::vector<int64_t>& array_batching;    // batching dimensions of `array`
  const std::vector<int64_t>& indices_batching;  // one per entry of array_batching: a dimension of `indices`
  const std::vector<int64_t>& index_map;         // one per entry of an index vector: a dimension of `array`
};

absl::Status CheckAddressing(const Addressing& a) {
  if (!IsInteger(a.indices.dtype))
    return InvalidArgument("indices are %s, not integers", a.indices.ToString());
  const int64_t indices_rank = a.indices.rank();
  if (a.index_vector_dim < 0 || a.index_vector_dim > indices_rank) {
    return InvalidArgument("index vector dimension %d is outside indices %s", a.index_vector_dim,
                           a.indices.ToString());
  }
  ALPA_RETURN_IF_ERROR(CheckDims(a.removed, a.array.rank(), "collapsed dimensions"));
  ALPA_RETURN_IF_ERROR(CheckDims(a.array_batching, a.array.rank(), "batching dimensions"));
  ALPA_RETURN_IF_ERROR(CheckDims(a.indices_batching, indices_rank, "batching dimensions of indices"));
  ALPA_RETURN_IF_ERROR(CheckDims(a.index_map, a.array.rank(), "index map"));
  ALPA_RETURN_IF_ERROR(CheckSorted(a.removed, "collapsed dimensions"));
  ALPA_RETURN_IF_ERROR(CheckSorted(a.array_batching, "batching dimensions"));
  const int64_t vector_size = a.index_vector_dim == indices_rank ? 1 : a.indices.dims[a.index_vector_dim];
  if (static_cast<int64_t>(a.index_map.size()) != vector_size) {
    return InvalidArgument("index vectors have %d entries, but the index map has %d", vector_size,
                           a.index_map.size());
  }
  for (int64_t dim : a.array_batching) {
    if (Contains(a.removed, dim) || Contains(a.index_map, dim)) {
      return InvalidArgument("dimension %d is both a batching dimension and a collapsed or indexed dimension", dim);
    }
  }
  if (a.array_batching.size() != a.indices_batching.size()) {
    return InvalidArgument("the array has %d batching dimensions, but the indices have %d", a.array_batching.size(),
                           a.indices_batching.size());
  }
  for (size_t i = 0; i < a.array_batching.size(); ++i) {
    if (a.indices_batching[i] == a.index_vector_dim ||
        a.array.dims[a.array_batching[i]] != a.indices.dims[a.indices_batching[i]]) {
      return InvalidArgument("batching dimension %d of %s does not match dimension %d of indices %s",
                             a.array_batching[i], a.array.ToString(), a.indices_batching[i],
                             a.indices.ToString());
    }
  }
  return absl::OkStatus();
}

// Returns the sizes of the dimensions of `indices`, without the dimension that holds the vectors.
std::vector<int64_t> BatchSizes(const Shape& indices, int64_t index_vector_dim) {
  std::vector<int64_t> sizes = indices.dims;
  if (index_vector_dim < indices.rank()) sizes.erase(sizes.begin() + index_vector_dim);
  return sizes;
}

}  // namespace

absl::StatusOr<Shape> InferGather(const Shapes& operands, const GatherAttrs& attrs) {
  if (operands.size() != 2)
    return InvalidArgument("has %d operands, but needs an array and indices", operands.size());
  const Shape& array = operands[0];
  const Shape& indices = operands[1];
  ALPA_RETURN_IF_ERROR(CheckAddressing({array, indices, attrs.index_vector_dim, attrs.collapsed_slice_dims,
                                        attrs.operand_batching_dims, attrs.start_indices_batching_dims,
                                        attrs.start_index_map}));
  if (static_cast<int>(attrs.slice_sizes.size()) != array.rank()) {
    return InvalidArgument("slice sizes %s must have one entry per dimension of %s", Join(attrs.slice_sizes),
                           array.ToString());
  }
  std::vector<int64_t> window;
  for (int64_t i = 0; i < array.rank(); ++i) {
    const int64_t size = attrs.slice_sizes[i];
    if (size < 0 || size > array.dims[i]) {
      return InvalidArgument("slice size %d is outside dimension %d of %s", size, i, array.ToString());
    }
    if (Contains(attrs.collapsed_slice_dims, i) || Contains(attrs.operand_batching_dims, i)) {
      if (size > 1) return InvalidArgument("slice size of collapsed or batching dimension %d is %d, not 1", i, size);
      continue;
    }
    window.push_back(size);
  }
  const std::vector<int64_t> batch = BatchSizes(indices, attrs.index_vector_dim);
  const int64_t rank = static_cast<int64_t>(window.size() + batch.size());
  ALPA_RETURN_IF_ERROR(CheckDims(attrs.offset_dims, rank, "offset dimensions"));
  ALPA_RETURN_IF_ERROR(CheckSorted(attrs.offset_dims, "offset dimensions"));
  if (attrs.offset_dims.size() != window.size()) {
    return InvalidArgument("has %d offset dimensions for windows of rank %d", attrs.offset_dims.size(),
                           window.size());
  }
  Shape result{array.dtype, {}};
  size_t next_window = 0, next_batch = 0;
  for (int64_t i = 0; i < rank; ++i) {
    result.dims.push_back(Contains(attrs.offset_dims, i) ? window[next_window++] : batch[next_batch++]);
  }
  return result;
}

absl::StatusOr<Shapes> InferScatter(const Shapes& operands, const ScatterAttrs& attrs, const Graph& region) {
  if (operands.size() < 3 || operands.size() % 2 == 0) {
    return InvalidArgument("has %d operands, but needs n arrays, indices and n updates", operands.size());
  }
  const size_t n = operands.size() / 2;
  const Shape& indices = operands[n];
  const Shape& array = operands[0];
  const Shape& update = operands[n + 1];
  ALPA_RETURN_IF_ERROR(CheckAddressing({array, indices, attrs.index_vector_dim, attrs.inserted_window_dims,
                                        attrs.input_batching_dims, attrs.scatter_indices_batching_dims,
                                        attrs.scatter_dims_to_operand_dims}));
  ALPA_RETURN_IF_ERROR(CheckDims(attrs.update_window_dims, update.rank(), "update window dimensions"));
  ALPA_RETURN_IF_ERROR(CheckSorted(attrs.update_window_dims, "update window dimensions"));
  std::vector<int64_t> window_limits;
  for (int64_t i = 0; i < array.rank(); ++i) {
    if (!Contains(attrs.inserted_window_dims, i) && !Contains(attrs.input_batching_dims, i)) {
      window_limits.push_back(array.dims[i]);
    }
  }
  const std::vector<int64_t> batch = BatchSizes(indices, attrs.index_vector_dim);
  if (attrs.update_window_dims.size() != window_limits.size() ||
      update.dims.size() != window_limits.size() + batch.size()) {
    return InvalidArgument("updates %s do not have one dimension for each of %d window and %d index dimensions",
                           update.ToString(), window_limits.size(), batch.size());
  }
  size_t next_window = 0, next_batch = 0;
  for (int64_t i = 0; i < update.rank(); ++i) {
    if (Contains(attrs.update_window_dims, i)) {
      if (update.dims[i] > window_limits[next_window++]) {
        return InvalidArgument("window dimension %d of updates %s exceeds the array %s", i, update.ToString(),
                               array.ToString());
      }
    } else if (update.dims[i] != batch[next_batch++]) {
      return InvalidArgument("dimension %d of updates %s does not match indices %s", i, update.ToString(),
                             indices.ToString());
    }
  }
  Shapes scalars, results;
  for (size_t i = 0; i < n; ++i) {
    if (operands[i].dims != array.dims || operands[n + 1 + i].dims != update.dims ||
        operands[i].dtype != operands[n + 1 + i].dtype) {
      return InvalidArgument("array %s and updates %s differ in element type, or differ in size from the first array "
                             "and its updates",
                             operands[i].ToString(), operands[n + 1 + i].ToString());
    }
    scalars.push_back(Shape{operands[i].dtype, {}});
    results.push_back(operands[i]);
  }
  Shapes parameters = scalars;
  parameters.insert(parameters.end(), scalars.begin(), scalars.end());
  ALPA_RETURN_IF_ERROR(CheckRegion(region, parameters, scalars, "combiner"));
  return results;
}

}  // namespace alpa::graph::internal
