// Finds components of the indices of a gather or scatter that are coordinates (element i is i), and turns each of them
// into a batching dimension:
//
//   gather(x[B, C], concatenate(iota[B], y[B]))  →  gather(x[B, C], y[B]), with dimension 0 of x and of y batched
//
// JAX lowers `x[jnp.arange(B), y]` to the left side. On both sides, row b of the result reads only row b of x, but only
// the right side states this. Therefore the rule table can split the right side along B. For the left side, the rule
// table has to replicate x.
#include <algorithm>
#include <utility>

#include "graph/rewriter.h"

namespace alpa::graph::internal {
namespace {

// A constant with more elements than this is not compared with coordinates.
constexpr int64_t kMostElements = 1 << 16;
// The maximum number of ops between an index and the iota from which the index is computed.
constexpr int kMostSteps = 16;

// Returns the dimension of `to` to which a reshape moves dimension `dim` of `from`. Returns nothing unless the reshape
// only adds or removes dimensions of size 1.
std::optional<int64_t> AcrossOnes(const std::vector<int64_t>& from, int64_t dim, const std::vector<int64_t>& to) {
  size_t t = 0;
  std::optional<int64_t> found;
  for (size_t f = 0; f < from.size(); ++f) {
    if (from[f] == 1) continue;
    while (t < to.size() && to[t] == 1) ++t;
    if (t == to.size() || to[t] != from[f]) return std::nullopt;
    if (static_cast<int64_t>(f) == dim) found = static_cast<int64_t>(t);
    ++t;
  }
  return std::all_of(to.begin() + static_cast<int64_t>(t), to.end(), [](int64_t d) { return d == 1; }) ? found
                                                                                                       : std::nullopt;
}

// Returns whether the type is an integer type that can represent `coordinate`.
bool Holds(DType dtype, int64_t coordinate) {
  if (!IsInteger(dtype)) return false;
  const int bits = static_cast<int>(8 * SizeOf(dtype)) - (IsSigned(dtype) ? 1 : 0);
  return bits >= 63 || coordinate < (int64_t{1} << bits);
}

// Returns a dimension such that each element of the literal equals its own coordinate along this dimension. Returns
// nothing if no such dimension exists.
std::optional<int64_t> CoordinateOfLiteral(const Literal& literal) {
  const Shape& shape = literal.shape();
  if (!IsInteger(shape.dtype) || shape.elements() > kMostElements || shape.elements() == 0) return std::nullopt;
  const std::vector<int64_t> strides = Strides(shape.dims);
  for (int64_t d = 0; d < shape.rank(); ++d) {
    if (shape.dims[d] == 1) continue;
    bool same = true;
    for (int64_t i = 0; same && i < shape.elements(); ++i) {
      same = literal.ValueAt(i) == static_cast<double>(i / strides[d] % shape.dims[d]);
    }
    if (same) return d;
  }
  return std::nullopt;
}

template <typename T>
void EraseAll(std::vector<T>& list, const std::vector<size_t>& at) {
  for (size_t i = at.size(); i-- > 0;) list.erase(list.begin() + static_cast<int64_t>(at[i]));
}

}  // namespace

std::optional<int64_t> Rewriter::CoordinateDim(ValueId value, int steps) const {
  if (steps > kMostSteps) return std::nullopt;
  const Op& op = def(value);
  const Shape& to = shape(value);
  const auto of_operand = [&](size_t i) { return CoordinateDim(op.operands[i], steps + 1); };
  switch (op.opcode) {
    case Opcode::kConstant: return CoordinateOfLiteral(op.as<ConstantAttrs>().literal);
    case Opcode::kIota: {
      const int64_t dim = op.as<DimsAttrs>().dims[0];
      return Holds(to.dtype, to.dims[dim] - 1) ? std::optional(dim) : std::nullopt;
    }
    case Opcode::kCopy: return of_operand(0);
    case Opcode::kConvert: {
      const std::optional<int64_t> dim = of_operand(0);
      return dim && Holds(to.dtype, to.dims[*dim] - 1) ? dim : std::nullopt;
    }
    case Opcode::kReshape: {
      const std::optional<int64_t> dim = of_operand(0);
      return dim ? AcrossOnes(shape(op.operands[0]).dims, *dim, to.dims) : std::nullopt;
    }
    case Opcode::kBroadcast: {
      const std::optional<int64_t> dim = of_operand(0);
      if (!dim) return std::nullopt;
      return op.as<DimsAttrs>().dims[*dim];
    }
    case Opcode::kTranspose: {
      const std::optional<int64_t> dim = of_operand(0);
      if (!dim) return std::nullopt;
      const std::vector<int64_t>& permutation = op.as<DimsAttrs>().dims;
      return std::find(permutation.begin(), permutation.end(), *dim) - permutation.begin();
    }
    case Opcode::kSelect: {
      // JAX lowers an index that may count from the end to select(i < 0, i + n, i). A coordinate is never negative, so
      // the select returns i.
      const Op& test = def(op.operands[0]);
      if (test.opcode != Opcode::kCompare || test.as<CompareAttrs>().direction != CompareDirection::kLt) {
        return std::nullopt;
      }
      const std::optional<Literal> bound = AsUniform(test.operands[1]);
      if (!bound || bound->ValueAt(0) > 0 || !CoordinateDim(test.operands[0], steps + 1)) return std::nullopt;
      return of_operand(2);
    }
    case Opcode::kClamp: {
      const std::optional<int64_t> dim = of_operand(1);
      const std::optional<Literal> low = AsUniform(op.operands[0]), high = AsUniform(op.operands[2]);
      if (!dim || !low || !high) return std::nullopt;
      const bool changes_nothing =
          low->ValueAt(0) <= 0 && high->ValueAt(0) >= static_cast<double>(to.dims[*dim] - 1);
      return changes_nothing ? dim : std::nullopt;
    }
    default: return std::nullopt;
  }
}

// Removes from `indices` the components that are coordinates, and records them as batching dimensions. Returns the
// remaining indices. Returns nothing if no component is a coordinate, or if all components are coordinates.
std::optional<ValueId> Rewriter::BatchIndices(const Shape& array, ValueId indices, int64_t vector_dim,
                                              std::vector<int64_t>& index_map, std::vector<int64_t>& removed_dims,
                                              std::vector<int64_t>& array_batching,
                                              std::vector<int64_t>& indices_batching) {
  const Op op = def(indices);
  const Shape all = shape(indices);
  if (op.opcode != Opcode::kConcatenate || op.as<DimsAttrs>().dims[0] != vector_dim) return std::nullopt;
  std::vector<ValueId> kept;
  std::vector<size_t> batched;  // components
  size_t component = 0;
  for (ValueId operand : op.operands) {
    const int64_t extent = shape(operand).dims[vector_dim];
    bool keep = true;
    if (extent == 1) {
      const int64_t dim = index_map[component];
      const std::optional<int64_t> along = CoordinateDim(operand, 0);
      const auto has = [](const std::vector<int64_t>& list, int64_t x) {
        return std::find(list.begin(), list.end(), x) != list.end();
      };
      keep = !along || *along == vector_dim || all.dims[*along] != array.dims[dim] || has(indices_batching, *along) ||
             !has(removed_dims, dim);
      if (!keep) {
        const auto at = std::lower_bound(array_batching.begin(), array_batching.end(), dim) - array_batching.begin();
        array_batching.insert(array_batching.begin() + at, dim);
        indices_batching.insert(indices_batching.begin() + at, *along);
        removed_dims.erase(std::find(removed_dims.begin(), removed_dims.end(), dim));
        batched.push_back(component);
      }
    }
    if (keep) kept.push_back(operand);
    component += static_cast<size_t>(extent);
  }
  if (batched.empty() || kept.empty()) return std::nullopt;
  EraseAll(index_map, batched);
  if (kept.size() == 1) return kept[0];
  Shape rest = all;
  rest.dims[vector_dim] -= static_cast<int64_t>(batched.size());
  return MakeOne({Opcode::kConcatenate, std::move(kept), {std::move(rest)}, DimsAttrs{{vector_dim}}});
}

std::optional<ValueId> Rewriter::RewriteGather(const Candidate& op) {
  GatherAttrs attrs = std::get<GatherAttrs>(op.attrs);
  const std::optional<ValueId> indices =
      BatchIndices(shape(op.operands[0]), op.operands[1], attrs.index_vector_dim, attrs.start_index_map,
                   attrs.collapsed_slice_dims, attrs.operand_batching_dims, attrs.start_indices_batching_dims);
  if (!indices) return std::nullopt;
  attrs.indices_are_sorted = false;  // the indices that remain may be in another order
  return MakeOne({Opcode::kGather, {op.operands[0], *indices}, op.shapes, std::move(attrs)});
}

std::optional<ValueId> Rewriter::RewriteScatter(const Candidate& op) {
  if (op.operands.size() != 3) return std::nullopt;
  ScatterAttrs attrs = std::get<ScatterAttrs>(op.attrs);
  const std::optional<ValueId> indices = BatchIndices(
      shape(op.operands[0]), op.operands[1], attrs.index_vector_dim, attrs.scatter_dims_to_operand_dims,
      attrs.inserted_window_dims, attrs.input_batching_dims, attrs.scatter_indices_batching_dims);
  if (!indices) return std::nullopt;
  attrs.indices_are_sorted = false;
  return MakeOne({Opcode::kScatter, {op.operands[0], *indices, op.operands[2]}, op.shapes, std::move(attrs),
                  op.regions});
}

}  // namespace alpa::graph::internal
