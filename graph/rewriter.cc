#include "graph/rewriter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "graph/scalar_fold.h"

namespace alpa::graph::internal {
namespace {

class KeyWriter {
 public:
  void Number(int64_t value) { key_.append(reinterpret_cast<const char*>(&value), sizeof(value)); }
  void Numbers(const std::vector<int64_t>& values) {
    Number(static_cast<int64_t>(values.size()));
    for (int64_t value : values) Number(value);
  }
  void Window(const std::vector<WindowDim>& window) {
    Number(static_cast<int64_t>(window.size()));
    for (const WindowDim& w : window) {
      Numbers(
          {w.size, w.stride, w.padding_low, w.padding_high, w.window_dilation, w.base_dilation, w.reversal});
    }
  }
  void OfShape(const Shape& shape) {
    Number(static_cast<int64_t>(shape.dtype));
    Numbers(shape.dims);
  }

  void operator()(std::monostate) {}
  void operator()(const ParameterAttrs& a) { Number(a.index); }
  void operator()(const ConstantAttrs& a) {
    OfShape(a.literal.shape());
    const std::span<const std::byte> bytes = a.literal.bytes();
    if (bytes.size() <= 64) {
      key_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    } else {
      const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
      Number(static_cast<int64_t>(hash.low64));
      Number(static_cast<int64_t>(hash.high64));
    }
  }
  void operator()(const DimsAttrs& a) { Numbers(a.dims); }
  void operator()(const CompareAttrs& a) { Numbers({static_cast<int64_t>(a.direction), a.total_order}); }
  void operator()(const DotAttrs& a) {
    for (const auto* dims : {&a.lhs_batch, &a.rhs_batch, &a.lhs_contracting, &a.rhs_contracting})
      Numbers(*dims);
  }
  void operator()(const SliceAttrs& a) {
    for (const auto* dims : {&a.starts, &a.limits, &a.strides}) Numbers(*dims);
  }
  void operator()(const DynamicSliceAttrs& a) { Numbers(a.sizes); }
  void operator()(const PadAttrs& a) {
    for (const auto* dims : {&a.low, &a.high, &a.interior}) Numbers(*dims);
  }
  void operator()(const GatherAttrs& a) {
    for (const auto* dims : {&a.offset_dims, &a.collapsed_slice_dims, &a.start_index_map,
                             &a.operand_batching_dims, &a.start_indices_batching_dims, &a.slice_sizes}) {
      Numbers(*dims);
    }
    Numbers({a.index_vector_dim, a.indices_are_sorted});
  }
  void operator()(const ScatterAttrs& a) {
    for (const auto* dims : {&a.update_window_dims, &a.inserted_window_dims, &a.scatter_dims_to_operand_dims,
                             &a.input_batching_dims, &a.scatter_indices_batching_dims}) {
      Numbers(*dims);
    }
    Numbers({a.index_vector_dim, a.indices_are_sorted, a.unique_indices});
  }
  void operator()(const WindowAttrs& a) { Window(a.window); }
  void operator()(const ConvolutionAttrs& a) {
    Window(a.window);
    Numbers({a.input_batch, a.input_feature, a.kernel_input_feature, a.kernel_output_feature, a.output_batch,
             a.output_feature, a.feature_group_count, a.batch_group_count});
    for (const auto* dims : {&a.input_spatial, &a.kernel_spatial, &a.output_spatial}) Numbers(*dims);
  }
  void operator()(const SortAttrs& a) { Numbers({a.dimension, a.stable}); }
  void operator()(const ReducePrecisionAttrs& a) { Numbers({a.exponent_bits, a.mantissa_bits}); }
  void operator()(const CollectiveAttrs& a) {
    Numbers(a.mesh_axes);
    Numbers({static_cast<int64_t>(a.kind), a.dim, a.concat_dim});
    Numbers(a.permutation);
  }

  std::string Take() { return std::move(key_); }

 private:
  std::string key_;
};

}  // namespace

std::string KeyOf(const Candidate& op, const RegionTable& regions) {
  KeyWriter key;
  key.Number(static_cast<int64_t>(op.opcode));
  key.Number(static_cast<int64_t>(op.attrs.index()));
  key.Number(static_cast<int64_t>(op.operands.size()));
  for (ValueId operand : op.operands) key.Number(operand.value());
  key.Number(static_cast<int64_t>(op.shapes.size()));
  for (const Shape& shape : op.shapes) key.OfShape(shape);
  key.Number(static_cast<int64_t>(op.regions.size()));
  for (const auto& region : op.regions) key.Number(regions.IndexOf(region.get()));
  std::visit(key, op.attrs);
  return key.Take();
}

Graph Rewriter::Run(const Graph& graph) {
  std::vector<ValueId> mapped(graph.values().size());
  for (const Op& op : graph.ops()) {
    location_ = graph.location(op);
    if (op.opcode == Opcode::kParameter) {
      mapped[op.results[0].value()] = builder_.Parameter(graph.shape(op.results[0]), location_);
      continue;
    }
    Candidate candidate{op.opcode, {}, {}, op.attrs, {}};
    candidate.operands.reserve(op.operands.size());
    for (ValueId operand : op.operands) candidate.operands.push_back(mapped[operand.value()]);
    for (ValueId result : op.results) candidate.shapes.push_back(graph.shape(result));
    for (const auto& region : op.regions) candidate.regions.push_back(regions_->Simplified(region));
    const std::vector<ValueId> results = Make(std::move(candidate));
    for (size_t i = 0; i < results.size(); ++i) mapped[op.results[i].value()] = results[i];
  }
  std::vector<ValueId> results;
  results.reserve(graph.results().size());
  for (ValueId result : graph.results()) results.push_back(mapped[result.value()]);
  builder_.SetResults(std::move(results));
  return builder_.Build();
}

std::vector<ValueId> Rewriter::Make(Candidate op) {
  if (op.opcode == Opcode::kOptimizationBarrier) {
    // Each barrier stays a separate op. So an op that reads a barrier's result is never merged with an op that reads
    // the barrier's operand.
    return builder_.AddOp(op.opcode, std::move(op.operands), std::move(op.shapes), std::move(op.attrs),
                          std::move(op.regions), location_);
  }
  if (op.shapes.size() == 1) {
    if (const std::optional<ValueId> value = Rewrite(op)) return {*value};
  }
  if (op.opcode == Opcode::kConditional) {
    if (std::optional<std::vector<ValueId>> values = RewriteConditional(op)) return *std::move(values);
  }
  if (std::optional<std::vector<ValueId>> values = Fold(op)) return *std::move(values);
  return Add(std::move(op));
}

std::vector<ValueId> Rewriter::Add(Candidate op) {
  const auto [entry, is_new] = known_.try_emplace(KeyOf(op, *regions_));
  if (is_new) {
    entry->second = builder_.AddOp(op.opcode, std::move(op.operands), std::move(op.shapes),
                                   std::move(op.attrs), std::move(op.regions), location_);
  }
  return entry->second;
}

const Literal* Rewriter::AsConstant(ValueId value) const {
  const auto* attrs = std::get_if<ConstantAttrs>(&def(value).attrs);
  return attrs == nullptr ? nullptr : &attrs->literal;
}

std::optional<Literal> Rewriter::AsUniform(ValueId value) const {
  const Op& op = def(value);
  if (op.opcode == Opcode::kBroadcast && shape(op.operands[0]).rank() == 0) value = op.operands[0];
  const Literal* literal = AsConstant(value);
  constexpr int64_t kMostElements = 1024;  // limits the size of a constant, because its elements are compared
  if (literal == nullptr || literal->shape().elements() == 0 || literal->shape().elements() > kMostElements) {
    return std::nullopt;
  }
  const size_t size = static_cast<size_t>(SizeOf(literal->shape().dtype));
  const std::span<const std::byte> bytes = literal->bytes();
  for (size_t i = size; i < bytes.size(); i += size) {
    if (std::memcmp(bytes.data(), bytes.data() + i, size) != 0) return std::nullopt;
  }
  return Literal(Shape{literal->shape().dtype, {}},
                 std::vector<std::byte>(bytes.begin(), bytes.begin() + size));
}

std::optional<std::vector<int64_t>> Rewriter::ConstantStarts(const std::vector<ValueId>& operands,
                                                             size_t first, const Shape& array,
                                                             const std::vector<int64_t>& sizes) const {
  std::vector<int64_t> starts;
  for (size_t i = first; i < operands.size(); ++i) {
    const Literal* literal = AsConstant(operands[i]);
    const std::optional<int64_t> value = literal == nullptr ? std::nullopt : ScalarValue(*literal);
    if (!value) return std::nullopt;
    const size_t dim = i - first;
    const int64_t last = array.dims[dim] - sizes[dim];
    const bool huge = literal->shape().dtype == DType::kU64 && *value < 0;
    starts.push_back(huge ? last : std::max<int64_t>(0, std::min(*value, last)));
  }
  return starts;
}

}  // namespace alpa::graph::internal
