#include "graph/import_attributes.h"

#include <utility>

#include "base/status.h"
#include "graph/import_shape.h"

namespace alpa::graph::internal {
namespace {

using Numbers = google::protobuf::RepeatedField<int64_t>;

std::vector<int64_t> Get(const Numbers& from) { return {from.begin(), from.end()}; }

absl::StatusOr<Attributes> ReadCompare(const hlo::Instruction& in) {
  static constexpr struct {
    const char* name;
    CompareDirection direction;
  } kDirections[] = {
      {"EQ", CompareDirection::kEq}, {"NE", CompareDirection::kNe}, {"LT", CompareDirection::kLt},
      {"LE", CompareDirection::kLe}, {"GT", CompareDirection::kGt}, {"GE", CompareDirection::kGe},
  };
  for (const auto& row : kDirections) {
    if (in.comparison_direction() == row.name) {
      return CompareAttrs{row.direction, in.comparison_type() == "TOTALORDER"};
    }
  }
  return InvalidArgument("comparison direction \"%s\" is unknown", Safe(in.comparison_direction()));
}

std::vector<WindowDim> ReadWindow(const hlo::Window& in) {
  std::vector<WindowDim> window;
  for (const hlo::WindowDimension& w : in.dimensions()) {
    window.push_back({w.size(), w.stride(), w.padding_low(), w.padding_high(), w.window_dilation(),
                      w.base_dilation(), w.window_reversal()});
  }
  return window;
}

ConvolutionAttrs ReadConvolution(const hlo::Instruction& in) {
  const hlo::ConvolutionDimensions& dims = in.convolution_dimensions();
  ConvolutionAttrs attrs;
  attrs.window = ReadWindow(in.window());
  attrs.input_batch = dims.input_batch();
  attrs.input_feature = dims.input_feature();
  attrs.kernel_input_feature = dims.kernel_input_feature();
  attrs.kernel_output_feature = dims.kernel_output_feature();
  attrs.output_batch = dims.output_batch();
  attrs.output_feature = dims.output_feature();
  attrs.input_spatial = Get(dims.input_spatial());
  attrs.kernel_spatial = Get(dims.kernel_spatial());
  attrs.output_spatial = Get(dims.output_spatial());
  attrs.feature_group_count = in.feature_group_count() == 0 ? 1 : in.feature_group_count();
  attrs.batch_group_count = in.batch_group_count() == 0 ? 1 : in.batch_group_count();
  return attrs;
}

GatherAttrs ReadGather(const hlo::Instruction& in) {
  const hlo::GatherDimensions& dims = in.gather_dimensions();
  return {Get(dims.offset_dims()),
          Get(dims.collapsed_slice_dims()),
          Get(dims.start_index_map()),
          Get(dims.operand_batching_dims()),
          Get(dims.start_indices_batching_dims()),
          Get(in.gather_slice_sizes()),
          dims.index_vector_dim(),
          in.indices_are_sorted()};
}

ScatterAttrs ReadScatter(const hlo::Instruction& in) {
  const hlo::ScatterDimensions& dims = in.scatter_dimensions();
  return {Get(dims.update_window_dims()),
          Get(dims.inserted_window_dims()),
          Get(dims.scatter_dims_to_operand_dims()),
          Get(dims.input_batching_dims()),
          Get(dims.scatter_indices_batching_dims()),
          dims.index_vector_dim(),
          in.indices_are_sorted(),
          in.unique_indices()};
}

}  // namespace

absl::StatusOr<Attributes> ReadAttributes(Opcode opcode, const hlo::Instruction& in) {
  switch (opcode) {
    case Opcode::kIota:
    case Opcode::kBroadcast:
    case Opcode::kTranspose:
    case Opcode::kReverse:
    case Opcode::kReduce:
    case Opcode::kConcatenate:
      return DimsAttrs{Get(in.dimensions())};
    case Opcode::kCompare:
      return ReadCompare(in);
    case Opcode::kDot: {
      const hlo::DotDimensions& dims = in.dot_dimensions();
      return DotAttrs{Get(dims.lhs_batch()), Get(dims.rhs_batch()), Get(dims.lhs_contracting()),
                      Get(dims.rhs_contracting())};
    }
    case Opcode::kSlice: {
      SliceAttrs attrs;
      for (const hlo::SliceDimension& dim : in.slice_dimensions()) {
        attrs.starts.push_back(dim.start());
        attrs.limits.push_back(dim.limit());
        attrs.strides.push_back(dim.stride());
      }
      return attrs;
    }
    case Opcode::kDynamicSlice:
      return DynamicSliceAttrs{Get(in.dynamic_slice_sizes())};
    case Opcode::kPad: {
      PadAttrs attrs;
      for (const hlo::Padding::Dimension& dim : in.padding().dimensions()) {
        attrs.low.push_back(dim.low());
        attrs.high.push_back(dim.high());
        attrs.interior.push_back(dim.interior());
      }
      return attrs;
    }
    case Opcode::kGather:
      return ReadGather(in);
    case Opcode::kScatter:
      return ReadScatter(in);
    case Opcode::kReduceWindow:
    case Opcode::kSelectAndScatter:
      return WindowAttrs{ReadWindow(in.window())};
    case Opcode::kConvolution:
      return ReadConvolution(in);
    case Opcode::kSort: {
      if (in.dimensions_size() != 1)
        return InvalidArgument("sorts along %d dimensions, but must sort along 1", in.dimensions_size());
      return SortAttrs{in.dimensions(0), in.is_stable()};
    }
    case Opcode::kReducePrecision:
      return ReducePrecisionAttrs{in.exponent_bits(), in.mantissa_bits()};
    default:
      return Attributes();
  }
}

}  // namespace alpa::graph::internal
