#include "graph/serialize_attributes.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"

namespace alpa::graph::internal {
namespace {

constexpr int kMaxRank = 64;  // maximum number of dimensions of an array in a message

using Numbers = google::protobuf::RepeatedField<int64_t>;

void Put(const std::vector<int64_t>& from, Numbers* to) { to->Assign(from.begin(), from.end()); }
std::vector<int64_t> Get(const Numbers& from) { return {from.begin(), from.end()}; }

void Put(const std::vector<WindowDim>& from,
         google::protobuf::RepeatedPtrField<proto::GraphOp::WindowDim>* to) {
  for (const WindowDim& w : from) {
    proto::GraphOp::WindowDim* out = to->Add();
    out->set_size(w.size);
    out->set_stride(w.stride);
    out->set_padding_low(w.padding_low);
    out->set_padding_high(w.padding_high);
    out->set_window_dilation(w.window_dilation);
    out->set_base_dilation(w.base_dilation);
    out->set_reversal(w.reversal);
  }
}
std::vector<WindowDim> Get(const google::protobuf::RepeatedPtrField<proto::GraphOp::WindowDim>& from) {
  std::vector<WindowDim> window;
  for (const proto::GraphOp::WindowDim& w : from) {
    window.push_back({w.size(), w.stride(), w.padding_low(), w.padding_high(), w.window_dilation(),
                      w.base_dilation(), w.reversal()});
  }
  return window;
}

struct AttributeWriter {
  proto::GraphOp* out;

  void operator()(std::monostate) const {}
  void operator()(const ParameterAttrs& a) const { out->set_parameter(a.index); }
  void operator()(const ConstantAttrs& a) const {
    ShapeToProto(a.literal.shape(), out->mutable_constant()->mutable_shape());
    const std::span<const std::byte> bytes = a.literal.bytes();
    out->mutable_constant()->set_data(bytes.data(), bytes.size());
  }
  void operator()(const DimsAttrs& a) const { Put(a.dims, out->mutable_dims()->mutable_dims()); }
  void operator()(const CompareAttrs& a) const {
    out->mutable_compare()->set_direction(static_cast<int32_t>(a.direction));
    out->mutable_compare()->set_total_order(a.total_order);
  }
  void operator()(const DotAttrs& a) const {
    auto* dot = out->mutable_dot();
    Put(a.lhs_batch, dot->mutable_lhs_batch());
    Put(a.rhs_batch, dot->mutable_rhs_batch());
    Put(a.lhs_contracting, dot->mutable_lhs_contracting());
    Put(a.rhs_contracting, dot->mutable_rhs_contracting());
  }
  void operator()(const SliceAttrs& a) const {
    auto* slice = out->mutable_slice();
    Put(a.starts, slice->mutable_starts());
    Put(a.limits, slice->mutable_limits());
    Put(a.strides, slice->mutable_strides());
  }
  void operator()(const DynamicSliceAttrs& a) const {
    Put(a.sizes, out->mutable_dynamic_slice()->mutable_dims());
  }
  void operator()(const PadAttrs& a) const {
    auto* pad = out->mutable_pad();
    Put(a.low, pad->mutable_low());
    Put(a.high, pad->mutable_high());
    Put(a.interior, pad->mutable_interior());
  }
  void operator()(const GatherAttrs& a) const {
    auto* gather = out->mutable_gather();
    Put(a.offset_dims, gather->mutable_offset_dims());
    Put(a.collapsed_slice_dims, gather->mutable_collapsed_slice_dims());
    Put(a.start_index_map, gather->mutable_start_index_map());
    Put(a.operand_batching_dims, gather->mutable_operand_batching_dims());
    Put(a.start_indices_batching_dims, gather->mutable_start_indices_batching_dims());
    Put(a.slice_sizes, gather->mutable_slice_sizes());
    gather->set_index_vector_dim(a.index_vector_dim);
    gather->set_indices_are_sorted(a.indices_are_sorted);
  }
  void operator()(const ScatterAttrs& a) const {
    auto* scatter = out->mutable_scatter();
    Put(a.update_window_dims, scatter->mutable_update_window_dims());
    Put(a.inserted_window_dims, scatter->mutable_inserted_window_dims());
    Put(a.scatter_dims_to_operand_dims, scatter->mutable_scatter_dims_to_operand_dims());
    Put(a.input_batching_dims, scatter->mutable_input_batching_dims());
    Put(a.scatter_indices_batching_dims, scatter->mutable_scatter_indices_batching_dims());
    scatter->set_index_vector_dim(a.index_vector_dim);
    scatter->set_indices_are_sorted(a.indices_are_sorted);
    scatter->set_unique_indices(a.unique_indices);
  }
  void operator()(const WindowAttrs& a) const { Put(a.window, out->mutable_window()->mutable_dims()); }
  void operator()(const ConvolutionAttrs& a) const {
    auto* conv = out->mutable_convolution();
    Put(a.window, conv->mutable_window());
    conv->set_input_batch(a.input_batch);
    conv->set_input_feature(a.input_feature);
    conv->set_kernel_input_feature(a.kernel_input_feature);
    conv->set_kernel_output_feature(a.kernel_output_feature);
    conv->set_output_batch(a.output_batch);
    conv->set_output_feature(a.output_feature);
    Put(a.input_spatial, conv->mutable_input_spatial());
    Put(a.kernel_spatial, conv->mutable_kernel_spatial());
    Put(a.output_spatial, conv->mutable_output_spatial());
    conv->set_feature_group_count(a.feature_group_count);
    conv->set_batch_group_count(a.batch_group_count);
  }
  void operator()(const SortAttrs& a) const {
    out->mutable_sort()->set_dimension(a.dimension);
    out->mutable_sort()->set_stable(a.stable);
  }
  void operator()(const ReducePrecisionAttrs& a) const {
    out->mutable_reduce_precision()->set_exponent_bits(a.exponent_bits);
    out->mutable_reduce_precision()->set_mantissa_bits(a.mantissa_bits);
  }
  void operator()(const CollectiveAttrs& a) const {
    auto* collective = out->mutable_collective();
    Put(a.mesh_axes, collective->mutable_mesh_axes());
    collective->set_kind(static_cast<int32_t>(a.kind));
    collective->set_dim(a.dim);
    collective->set_concat_dim(a.concat_dim);
    Put(a.permutation, collective->mutable_permutation());
  }
};

absl::StatusOr<Literal> LiteralFromProto(const proto::Literal& in) {
  ALPA_ASSIGN_OR_RETURN(Shape shape, ShapeFromProto(in.shape()));
  if (static_cast<Bytes>(in.data().size()) != shape.bytes()) {
    return InvalidArgument("literal %s has %d bytes, but needs %d", shape.ToString(), in.data().size(),
                           shape.bytes());
  }
  if (shape.dtype == DType::kPred) {
    for (const char c : in.data()) {
      if (c != 0 && c != 1) return InvalidArgument("literal %s holds a byte that is neither 0 nor 1", shape.ToString());
    }
  }
  std::vector<std::byte> bytes(in.data().size());
  if (!bytes.empty()) std::memcpy(bytes.data(), in.data().data(), bytes.size());
  return Literal(std::move(shape), std::move(bytes));
}

}  // namespace

void ShapeToProto(const Shape& shape, proto::Shape* out) {
  out->set_dtype(static_cast<int32_t>(shape.dtype));
  Put(shape.dims, out->mutable_dims());
}

absl::StatusOr<Shape> ShapeFromProto(const proto::Shape& in) {
  const int32_t dtype = in.dtype();
  if (!((dtype >= static_cast<int32_t>(DType::kPred) && dtype <= static_cast<int32_t>(DType::kF64)) ||
        dtype == static_cast<int32_t>(DType::kBF16))) {
    return InvalidArgument("element type %d is unknown", dtype);
  }
  if (in.dims_size() > kMaxRank) {
    return InvalidArgument("shape has %d dimensions; at most %d are allowed", in.dims_size(), kMaxRank);
  }
  Shape shape{static_cast<DType>(dtype), Get(in.dims())};
  int64_t bytes = SizeOf(shape.dtype);
  for (int64_t dim : shape.dims) {
    if (dim < 0) return InvalidArgument("shape %s has a negative dimension", shape.ToString());
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes)) {
      return InvalidArgument("shape %s has a size in bytes that does not fit in 64 bits", shape.ToString());
    }
  }
  return shape;
}

void AttributesToProto(const Attributes& attrs, proto::GraphOp* out) {
  std::visit(AttributeWriter{out}, attrs);
}

absl::StatusOr<Attributes> AttributesFromProto(const proto::GraphOp& in) {
  switch (in.attributes_case()) {
    case proto::GraphOp::ATTRIBUTES_NOT_SET:
      return Attributes();
    case proto::GraphOp::kParameter:
      return ParameterAttrs{in.parameter()};
    case proto::GraphOp::kConstant: {
      ALPA_ASSIGN_OR_RETURN(Literal literal, LiteralFromProto(in.constant()));
      return ConstantAttrs{std::move(literal)};
    }
    case proto::GraphOp::kDims:
      return DimsAttrs{Get(in.dims().dims())};
    case proto::GraphOp::kCompare: {
      const int32_t direction = in.compare().direction();
      if (direction < 0 || direction > static_cast<int32_t>(CompareDirection::kGe)) {
        return InvalidArgument("compare direction %d is unknown", direction);
      }
      return CompareAttrs{static_cast<CompareDirection>(direction), in.compare().total_order()};
    }
    case proto::GraphOp::kDot: {
      const auto& dot = in.dot();
      return DotAttrs{Get(dot.lhs_batch()), Get(dot.rhs_batch()), Get(dot.lhs_contracting()),
                      Get(dot.rhs_contracting())};
    }
    case proto::GraphOp::kSlice:
      return SliceAttrs{Get(in.slice().starts()), Get(in.slice().limits()), Get(in.slice().strides())};
    case proto::GraphOp::kDynamicSlice:
      return DynamicSliceAttrs{Get(in.dynamic_slice().dims())};
    case proto::GraphOp::kPad:
      return PadAttrs{Get(in.pad().low()), Get(in.pad().high()), Get(in.pad().interior())};
    case proto::GraphOp::kGather: {
      const auto& g = in.gather();
      return GatherAttrs{Get(g.offset_dims()),
                         Get(g.collapsed_slice_dims()),
                         Get(g.start_index_map()),
                         Get(g.operand_batching_dims()),
                         Get(g.start_indices_batching_dims()),
                         Get(g.slice_sizes()),
                         g.index_vector_dim(),
                         g.indices_are_sorted()};
    }
    case proto::GraphOp::kScatter: {
      const auto& s = in.scatter();
      return ScatterAttrs{Get(s.update_window_dims()),
                          Get(s.inserted_window_dims()),
                          Get(s.scatter_dims_to_operand_dims()),
                          Get(s.input_batching_dims()),
                          Get(s.scatter_indices_batching_dims()),
                          s.index_vector_dim(),
                          s.indices_are_sorted(),
                          s.unique_indices()};
    }
    case proto::GraphOp::kWindow:
      return WindowAttrs{Get(in.window().dims())};
    case proto::GraphOp::kConvolution: {
      const auto& c = in.convolution();
      ConvolutionAttrs attrs;
      attrs.window = Get(c.window());
      attrs.input_batch = c.input_batch();
      attrs.input_feature = c.input_feature();
      attrs.kernel_input_feature = c.kernel_input_feature();
      attrs.kernel_output_feature = c.kernel_output_feature();
      attrs.output_batch = c.output_batch();
      attrs.output_feature = c.output_feature();
      attrs.input_spatial = Get(c.input_spatial());
      attrs.kernel_spatial = Get(c.kernel_spatial());
      attrs.output_spatial = Get(c.output_spatial());
      attrs.feature_group_count = c.feature_group_count();
      attrs.batch_group_count = c.batch_group_count();
      return attrs;
    }
    case proto::GraphOp::kSort:
      return SortAttrs{in.sort().dimension(), in.sort().stable()};
    case proto::GraphOp::kReducePrecision:
      return ReducePrecisionAttrs{in.reduce_precision().exponent_bits(),
                                  in.reduce_precision().mantissa_bits()};
    case proto::GraphOp::kCollective: {
      const auto& c = in.collective();
      if (c.kind() < 0 || c.kind() > static_cast<int32_t>(ReduceKind::kProduct)) {
        return InvalidArgument("reduction kind %d is unknown", c.kind());
      }
      return CollectiveAttrs{Get(c.mesh_axes()), static_cast<ReduceKind>(c.kind()), c.dim(), c.concat_dim(),
                             Get(c.permutation())};
    }
  }
  return InvalidArgument("attributes are unknown");
}

}  // namespace alpa::graph::internal
