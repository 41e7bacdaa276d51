#include "planner/strategy/split_rules.h"

#include <algorithm>

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ReduceKind;
using graph::Shape;

namespace {

int64_t Find(const std::vector<int64_t>& list, int64_t value) {
  auto it = std::find(list.begin(), list.end(), value);
  return it == list.end() ? -1 : it - list.begin();
}
bool Contains(const std::vector<int64_t>& list, int64_t value) { return Find(list, value) >= 0; }

// Derives the rule of one op from the split of operand `lead`, the *leading* operand.
class SplitRuleApplication {
 public:
  SplitRuleApplication(const RuleContext& context, const Op& op, const std::vector<AxisState>& states, size_t lead)
      : context_(context), graph_(*context.graph), op_(op), states_(states), lead_(lead), split_(states[lead]) {
    rule_.operands.resize(op.operands.size());
    rule_.results.resize(op.results.size());
    rule_.operands[lead] = split_;
  }

  std::optional<OpRule> Apply() {
    if (graph::IsElementwise(op_.opcode)) return Elementwise();
    switch (op_.opcode) {
      case Opcode::kBroadcast: return Moved(op_.as<graph::DimsAttrs>().dims[split_.dim]);
      case Opcode::kTranspose: return Moved(Find(op_.as<graph::DimsAttrs>().dims, split_.dim));
      case Opcode::kReshape: return Reshape();
      case Opcode::kReverse:
        if (Contains(op_.as<graph::DimsAttrs>().dims, split_.dim)) return std::nullopt;
        return Moved(split_.dim);
      case Opcode::kConcatenate: return Concatenate();
      case Opcode::kSort:
        if (op_.as<graph::SortAttrs>().dimension == split_.dim) return std::nullopt;
        return AllAlike();
      case Opcode::kSlice: return Slice();
      case Opcode::kPad: return Pad();
      case Opcode::kDynamicSlice:
        if (lead_ != 0 || op_.as<graph::DynamicSliceAttrs>().sizes[split_.dim] != operand(0).dims[split_.dim]) {
          return std::nullopt;
        }
        return Moved(split_.dim);
      case Opcode::kDynamicUpdateSlice: return DynamicUpdateSlice();
      case Opcode::kGather: return Gather();
      case Opcode::kScatter: return Scatter();
      case Opcode::kDot: return Dot();
      case Opcode::kConvolution: return Convolution();
      case Opcode::kReduce: return Reduce();
      case Opcode::kReduceWindow: return Window(op_.operands.size() / 2);
      case Opcode::kSelectAndScatter: return Window(2);
      default: return std::nullopt;
    }
  }

 private:
  const Shape& operand(size_t i) const { return graph_.shape(op_.operands[i]); }
  const Shape& result(size_t i = 0) const { return graph_.shape(op_.results[i]); }

  // Puts the leading operand's split on dimension `dim` of every result, with the same factor. Leaves the other
  // operands unchanged: replicated, unless the caller has set them.
  std::optional<OpRule> Moved(int64_t dim) {
    if (dim < 0) return std::nullopt;
    for (size_t i = 0; i < rule_.results.size(); ++i) {
      if (!CanSplit(result(i).dims, dim, split_.outer, context_.chunks)) return std::nullopt;
      rule_.results[i] = AxisState::Split(dim, split_.outer);
    }
    return rule_;
  }

  // Splits every operand and result like the leading operand.
  std::optional<OpRule> AllAlike() {
    for (size_t i = 0; i < op_.operands.size(); ++i) {
      if (!CanSplit(operand(i).dims, split_.dim, split_.outer, context_.chunks)) return std::nullopt;
      rule_.operands[i] = split_;
    }
    return Moved(split_.dim);
  }

  std::optional<OpRule> Elementwise() {
    if (op_.opcode == Opcode::kBitcastConvert && operand(0).rank() != result().rank()) return Moved(split_.dim);
    for (size_t i = 0; i < op_.operands.size(); ++i) {
      // A scalar operand of clamp or select applies to every element.
      rule_.operands[i] = operand(i).rank() == 0 && result().rank() != 0 ? AxisState::Replicated() : split_;
    }
    return Moved(split_.dim);
  }

  std::optional<OpRule> Reshape() {
    std::optional<AxisState> moved = ReshapeSplit(operand(0).dims, split_, result().dims, context_.chunks);
    if (!moved) return std::nullopt;
    rule_.results[0] = *moved;
    return rule_;
  }

  // Along a dimension that is split with factor `outer`, an array is a row of `outer` blocks, each of which is split in
  // the same way. Therefore, an op that joins, drops or adds whole blocks does the same to every chunk.
  int64_t Block() const { return operand(lead_).dims[split_.dim] / split_.outer; }

  // If a result consists of whole blocks, gives it the split that all its blocks share.
  std::optional<OpRule> OfBlocks() {
    const std::optional<AxisState> state = SplitOfBlocks(result().dims, split_.dim, Block(), context_.chunks);
    if (!state) return std::nullopt;
    rule_.results[0] = *state;
    return rule_;
  }

  std::optional<OpRule> Concatenate() {
    if (op_.as<graph::DimsAttrs>().dims[0] != split_.dim) return AllAlike();
    for (size_t i = 0; i < op_.operands.size(); ++i) {
      const std::optional<AxisState> state = SplitOfBlocks(operand(i).dims, split_.dim, Block(), context_.chunks);
      if (!state) return std::nullopt;
      rule_.operands[i] = *state;
    }
    return OfBlocks();
  }

  std::optional<OpRule> Slice() {
    const auto& attrs = op_.as<graph::SliceAttrs>();
    const int64_t d = split_.dim;
    if (attrs.strides[d] != 1 || attrs.starts[d] % Block() != 0) return std::nullopt;
    return OfBlocks();
  }

  std::optional<OpRule> Pad() {
    const auto& attrs = op_.as<graph::PadAttrs>();
    const int64_t d = split_.dim;
    if (lead_ != 0 || attrs.low[d] % Block() != 0 || attrs.interior[d] != 0) return std::nullopt;
    return OfBlocks();
  }

  std::optional<OpRule> DynamicUpdateSlice() {
    if (lead_ > 1 || operand(0).dims[split_.dim] != operand(1).dims[split_.dim]) return std::nullopt;
    rule_.operands[0] = rule_.operands[1] = split_;
    return Moved(split_.dim);
  }

  bool CutsIndexed() const {
    return context_.cut_indexed && split_.outer == 1 && IndexesAlong(graph_, op_, split_.dim);
  }

  std::optional<OpRule> Gather() {
    const auto& attrs = op_.as<graph::GatherAttrs>();
    // The result's dims other than offset dims are, in order, the dims of the indices without the vector dim.
    auto batch_result_dim = [&](int64_t index_dim) {
      int64_t position = index_dim - (attrs.index_vector_dim < index_dim ? 1 : 0);
      for (int64_t dim = 0; dim < result().rank(); ++dim) {
        if (Contains(attrs.offset_dims, dim)) continue;
        if (position-- == 0) return dim;
      }
      return int64_t{-1};
    };
    if (lead_ == 1) {
      if (split_.dim == attrs.index_vector_dim) return std::nullopt;
      const int64_t batching = Find(attrs.start_indices_batching_dims, split_.dim);
      if (batching >= 0) {
        rule_.operands[0] = AxisState::Split(attrs.operand_batching_dims[batching], split_.outer);
      }
      return Moved(batch_result_dim(split_.dim));
    }
    const int64_t batching = Find(attrs.operand_batching_dims, split_.dim);
    if (batching >= 0) {
      const int64_t index_dim = attrs.start_indices_batching_dims[batching];
      rule_.operands[1] = AxisState::Split(index_dim, split_.outer);
      return Moved(batch_result_dim(index_dim));
    }
    if (CutsIndexed()) {
      rule_.results[0] = AxisState::Partial(ReduceKind::kSum);
      return rule_;
    }
    if (Contains(attrs.start_index_map, split_.dim) || Contains(attrs.collapsed_slice_dims, split_.dim) ||
        attrs.slice_sizes[split_.dim] != operand(0).dims[split_.dim]) {
      return std::nullopt;
    }
    // The offset dims are, in order, the operand's dims that are neither collapsed nor batching dims.
    int64_t position = 0;
    for (int64_t d = 0; d < split_.dim; ++d) {
      if (!Contains(attrs.collapsed_slice_dims, d) && !Contains(attrs.operand_batching_dims, d)) ++position;
    }
    return Moved(attrs.offset_dims[position]);
  }

  std::optional<OpRule> Scatter() {
    if (op_.results.size() != 1) return std::nullopt;
    const auto& attrs = op_.as<graph::ScatterAttrs>();
    // The operand's dims that windows cover, in the order of update_window_dims.
    std::vector<int64_t> window_operand_dims;
    for (int64_t d = 0; d < operand(0).rank(); ++d) {
      if (!Contains(attrs.inserted_window_dims, d) && !Contains(attrs.input_batching_dims, d)) {
        window_operand_dims.push_back(d);
      }
    }
    // The updates' dims other than window dims are, in order, the dims of the indices without the vector dim.
    auto update_dim_of_index = [&](int64_t index_dim) {
      int64_t position = index_dim - (attrs.index_vector_dim < index_dim ? 1 : 0);
      for (int64_t dim = 0; dim < operand(2).rank(); ++dim) {
        if (Contains(attrs.update_window_dims, dim)) continue;
        if (position-- == 0) return dim;
      }
      return int64_t{-1};
    };
    auto batched = [&](int64_t batching) -> std::optional<OpRule> {
      const int64_t operand_dim = attrs.input_batching_dims[batching];
      const int64_t index_dim = attrs.scatter_indices_batching_dims[batching];
      rule_.operands[0] = AxisState::Split(operand_dim, split_.outer);
      rule_.operands[1] = AxisState::Split(index_dim, split_.outer);
      rule_.operands[2] = AxisState::Split(update_dim_of_index(index_dim), split_.outer);
      return Moved(operand_dim);
    };
    auto windowed = [&](int64_t operand_dim, int64_t update_dim) -> std::optional<OpRule> {
      if (Contains(attrs.scatter_dims_to_operand_dims, operand_dim) ||
          operand(0).dims[operand_dim] != operand(2).dims[update_dim]) {
        return std::nullopt;
      }
      rule_.operands[0] = AxisState::Split(operand_dim, split_.outer);
      rule_.operands[2] = AxisState::Split(update_dim, split_.outer);
      return Moved(operand_dim);
    };
    if (lead_ == 0) {
      if (int64_t batching = Find(attrs.input_batching_dims, split_.dim); batching >= 0) return batched(batching);
      if (int64_t window = Find(window_operand_dims, split_.dim); window >= 0) {
        return windowed(split_.dim, attrs.update_window_dims[window]);
      }
      return CutsIndexed() ? Moved(split_.dim) : std::nullopt;
    }
    int64_t index_dim = split_.dim;
    if (lead_ == 2) {
      if (int64_t window = Find(attrs.update_window_dims, split_.dim); window >= 0) {
        return windowed(window_operand_dims[window], split_.dim);
      }
      for (index_dim = 0; index_dim < operand(1).rank(); ++index_dim) {
        if (index_dim != attrs.index_vector_dim && update_dim_of_index(index_dim) == split_.dim) break;
      }
    }
    if (index_dim >= operand(1).rank() || index_dim == attrs.index_vector_dim) return std::nullopt;
    if (int64_t batching = Find(attrs.scatter_indices_batching_dims, index_dim); batching >= 0) {
      return batched(batching);
    }
    // The updates are split. Each chunk applies its own updates, so the result is partial.
    const ReduceKind* kind = graph::AsReduceKind(*op_.regions[0]);
    if (kind == nullptr) return std::nullopt;
    rule_.operands[0] = AxisState::Partial(*kind);
    rule_.operands[1] = AxisState::Split(index_dim, split_.outer);
    rule_.operands[2] = AxisState::Split(update_dim_of_index(index_dim), split_.outer);
    rule_.results[0] = AxisState::Partial(*kind);
    return rule_;
  }

  std::optional<OpRule> Dot() {
    const auto& attrs = op_.as<graph::DotAttrs>();
    const bool left = lead_ == 0;
    const size_t other = 1 - lead_;
    const auto& batch = left ? attrs.lhs_batch : attrs.rhs_batch;
    const auto& other_batch = left ? attrs.rhs_batch : attrs.lhs_batch;
    const auto& contracting = left ? attrs.lhs_contracting : attrs.rhs_contracting;
    const auto& other_contracting = left ? attrs.rhs_contracting : attrs.lhs_contracting;
    if (int64_t i = Find(batch, split_.dim); i >= 0) {
      rule_.operands[other] = AxisState::Split(other_batch[i], split_.outer);
      return Moved(i);
    }
    if (int64_t i = Find(contracting, split_.dim); i >= 0) {
      rule_.operands[other] = AxisState::Split(other_contracting[i], split_.outer);
      rule_.results[0] = AxisState::Partial(ReduceKind::kSum);
      return rule_;
    }
    int64_t free = 0;
    for (int64_t d = 0; d < split_.dim; ++d) {
      if (!Contains(batch, d) && !Contains(contracting, d)) ++free;
    }
    if (!left) free += operand(0).rank() - attrs.lhs_batch.size() - attrs.lhs_contracting.size();
    return Moved(static_cast<int64_t>(attrs.lhs_batch.size()) + free);
  }

  std::optional<OpRule> Convolution() {
    const auto& attrs = op_.as<graph::ConvolutionAttrs>();
    const bool batch_groups = attrs.batch_group_count != 1, feature_groups = attrs.feature_group_count != 1;
    if (lead_ == 0 && split_.dim == attrs.input_batch) {
      return batch_groups ? std::nullopt : Moved(attrs.output_batch);
    }
    if (lead_ == 1 && split_.dim == attrs.kernel_output_feature) {
      return batch_groups || feature_groups ? std::nullopt : Moved(attrs.output_feature);
    }
    // Without feature groups, every output sums over all input features. This also holds for the weight gradient
    // of a depthwise convolution, whose batch groups are the channels and whose input features are the examples.
    if (feature_groups) return std::nullopt;
    if (lead_ == 0 && split_.dim == attrs.input_feature) {
      rule_.operands[1] = AxisState::Split(attrs.kernel_input_feature, split_.outer);
    } else if (lead_ == 1 && split_.dim == attrs.kernel_input_feature) {
      rule_.operands[0] = AxisState::Split(attrs.input_feature, split_.outer);
    } else {
      return std::nullopt;
    }
    rule_.results[0] = AxisState::Partial(ReduceKind::kSum);
    return rule_;
  }

  std::optional<OpRule> Reduce() {
    const size_t arrays = op_.operands.size() / 2;
    if (lead_ >= arrays) return std::nullopt;
    const auto& dims = op_.as<graph::DimsAttrs>().dims;
    for (size_t i = 0; i < arrays; ++i) rule_.operands[i] = split_;
    if (!Contains(dims, split_.dim)) {
      const int64_t before = std::count_if(dims.begin(), dims.end(), [&](int64_t d) { return d < split_.dim; });
      return Moved(split_.dim - before);
    }
    const ReduceKind* kind = arrays == 1 ? graph::AsReduceKind(*op_.regions[0]) : nullptr;
    if (kind == nullptr) return std::nullopt;
    // Each chunk starts from the initial value. Therefore, the initial value must be the identity, unless the reduction
    // is idempotent.
    const Op& initial = graph_.def(op_.operands[1]);
    const bool idempotent = *kind != ReduceKind::kSum && *kind != ReduceKind::kProduct;
    if (!idempotent) {
      if (initial.opcode != Opcode::kConstant) return std::nullopt;
      if (!initial.as<graph::ConstantAttrs>().literal.AllEqual(*kind == ReduceKind::kSum ? 0 : 1)) return std::nullopt;
    }
    rule_.results[0] = AxisState::Partial(*kind);
    return rule_;
  }

  // Splits a windowed op along a dimension in which windows are single elements. The first `arrays` operands have the
  // rank of the window.
  std::optional<OpRule> Window(size_t arrays) {
    if (lead_ >= arrays) return std::nullopt;
    const graph::WindowDim& w = op_.as<graph::WindowAttrs>().window[split_.dim];
    if (w.size != 1 || w.stride != 1 || w.padding_low != 0 || w.padding_high != 0 || w.base_dilation != 1) {
      return std::nullopt;
    }
    for (size_t i = 0; i < arrays; ++i) {
      if (!CanSplit(operand(i).dims, split_.dim, split_.outer, context_.chunks)) return std::nullopt;
      rule_.operands[i] = split_;
    }
    return Moved(split_.dim);
  }

  const RuleContext& context_;
  const Graph& graph_;
  const Op& op_;
  const std::vector<AxisState>& states_;
  const size_t lead_;
  const AxisState split_;
  OpRule rule_;
};

}  // namespace

std::optional<OpRule> SplitRule(const RuleContext& context, const Op& op, const std::vector<AxisState>& states,
                                size_t lead) {
  return SplitRuleApplication(context, op, states, lead).Apply();
}

std::optional<AxisState> SplitOfBlocks(const std::vector<int64_t>& dims, int64_t dim, int64_t block, int64_t chunks) {
  if (block == 0 || dims[dim] == 0 || dims[dim] % block != 0) return std::nullopt;
  const int64_t outer = dims[dim] / block;
  return CanSplit(dims, dim, outer, chunks) ? std::optional(AxisState::Split(dim, outer)) : std::nullopt;
}

std::optional<AxisState> ReshapeSplit(const std::vector<int64_t>& from, const AxisState& split,
                                      const std::vector<int64_t>& to, int64_t chunks) {
  // On the flattened array, the split is the view [before, chunks, after]. A dimension of `to` can carry the split
  // under two conditions. First, the product of the dimensions ahead of it divides `before`. Second, the dimension
  // itself can be viewed as [before / product, chunks, rest].
  int64_t before = split.outer;
  for (int64_t d = 0; d < split.dim; ++d) before *= from[d];
  int64_t prefix = 1;
  for (size_t d = 0; d < to.size(); ++d) {
    if (before % prefix == 0 && CanSplit(to, d, before / prefix, chunks)) return AxisState::Split(d, before / prefix);
    prefix *= to[d];
    if (prefix == 0 || prefix > before) break;
  }
  return std::nullopt;
}

}  // namespace alpa::planner
