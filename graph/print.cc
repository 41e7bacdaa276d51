#include "graph/print.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace alpa::graph {
namespace {

std::string Dims(const std::vector<int64_t>& dims) {
  return absl::StrCat("{", absl::StrJoin(dims, ","), "}");
}

std::string Number(const Literal& literal, int64_t i) {
  switch (literal.shape().dtype) {
    case DType::kPred:
      return literal.ValueAt(i) != 0 ? "true" : "false";
    case DType::kU64:
      return absl::StrCat(literal.as<uint64_t>()[i]);
    case DType::kS64:
      return absl::StrCat(literal.as<int64_t>()[i]);
    default:
      break;
  }
  const double value = literal.ValueAt(i);
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return absl::StrFormat("%.9g", value);
}

std::string Text(const Literal& literal, int64_t max_elements) {
  const int64_t n = literal.shape().elements();
  if (literal.shape().rank() == 0) return Number(literal, 0);
  std::string text = "{";
  for (int64_t i = 0; i < n; ++i) {
    if (i > 0) text += ", ";
    if (i == max_elements) {
      absl::StrAppend(&text, "... ", n - i, " more");
      break;
    }
    text += Number(literal, i);
  }
  return text + "}";
}

const char* Text(CompareDirection direction) {
  switch (direction) {
    case CompareDirection::kEq:
      return "EQ";
    case CompareDirection::kNe:
      return "NE";
    case CompareDirection::kLt:
      return "LT";
    case CompareDirection::kLe:
      return "LE";
    case CompareDirection::kGt:
      return "GT";
    case CompareDirection::kGe:
      return "GE";
  }
  return "?";
}

std::string Text(const std::vector<WindowDim>& window) {
  std::string text = "window={";
  for (size_t i = 0; i < window.size(); ++i) {
    const WindowDim& w = window[i];
    if (i > 0) text += " ";
    absl::StrAppend(&text, w.size);
    if (w.stride != 1) absl::StrAppend(&text, "/", w.stride);
    if (w.padding_low != 0 || w.padding_high != 0)
      absl::StrAppend(&text, "+", w.padding_low, "_", w.padding_high);
    if (w.base_dilation != 1) absl::StrAppend(&text, " base*", w.base_dilation);
    if (w.window_dilation != 1) absl::StrAppend(&text, " window*", w.window_dilation);
    if (w.reversal) text += " reversed";
    if (i + 1 < window.size()) text += ",";
  }
  return text + "}";
}

// Appends " name={...}" if `dims` is not empty.
void Put(std::string* out, const char* name, const std::vector<int64_t>& dims) {
  if (!dims.empty()) absl::StrAppend(out, " ", name, "=", Dims(dims));
}

struct AttributePrinter {
  Opcode opcode;
  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(const ParameterAttrs&) const { return ""; }
  std::string operator()(const ConstantAttrs&) const { return ""; }
  std::string operator()(const DimsAttrs& a) const { return absl::StrCat(" dims=", Dims(a.dims)); }
  std::string operator()(const CompareAttrs& a) const {
    return absl::StrCat(" direction=", Text(a.direction), a.total_order ? " total_order" : "");
  }
  std::string operator()(const DotAttrs& a) const {
    std::string out;
    Put(&out, "lhs_batch", a.lhs_batch);
    Put(&out, "rhs_batch", a.rhs_batch);
    Put(&out, "lhs_contracting", a.lhs_contracting);
    Put(&out, "rhs_contracting", a.rhs_contracting);
    return out;
  }
  std::string operator()(const SliceAttrs& a) const {
    std::string out = " [";
    for (size_t i = 0; i < a.starts.size(); ++i) {
      if (i > 0) out += ", ";
      absl::StrAppend(&out, a.starts[i], ":", a.limits[i]);
      if (a.strides[i] != 1) absl::StrAppend(&out, ":", a.strides[i]);
    }
    return out + "]";
  }
  std::string operator()(const DynamicSliceAttrs& a) const { return absl::StrCat(" sizes=", Dims(a.sizes)); }
  std::string operator()(const PadAttrs& a) const {
    std::string out = absl::StrCat(" low=", Dims(a.low), " high=", Dims(a.high));
    for (int64_t interior : a.interior) {
      if (interior != 0) return absl::StrCat(out, " interior=", Dims(a.interior));
    }
    return out;
  }
  std::string operator()(const GatherAttrs& a) const {
    std::string out;
    Put(&out, "offset_dims", a.offset_dims);
    Put(&out, "collapsed", a.collapsed_slice_dims);
    Put(&out, "start_index_map", a.start_index_map);
    Put(&out, "operand_batching", a.operand_batching_dims);
    Put(&out, "indices_batching", a.start_indices_batching_dims);
    Put(&out, "slice_sizes", a.slice_sizes);
    absl::StrAppend(&out, " index_vector_dim=", a.index_vector_dim);
    if (a.indices_are_sorted) out += " sorted";
    return out;
  }
  std::string operator()(const ScatterAttrs& a) const {
    std::string out;
    Put(&out, "update_window_dims", a.update_window_dims);
    Put(&out, "inserted", a.inserted_window_dims);
    Put(&out, "index_map", a.scatter_dims_to_operand_dims);
    Put(&out, "input_batching", a.input_batching_dims);
    Put(&out, "indices_batching", a.scatter_indices_batching_dims);
    absl::StrAppend(&out, " index_vector_dim=", a.index_vector_dim);
    if (a.indices_are_sorted) out += " sorted";
    if (a.unique_indices) out += " unique";
    return out;
  }
  std::string operator()(const WindowAttrs& a) const { return absl::StrCat(" ", Text(a.window)); }
  std::string operator()(const ConvolutionAttrs& a) const {
    std::string out = absl::StrCat(" ", Text(a.window));
    absl::StrAppend(&out, " input=", a.input_batch, ",", a.input_feature, Dims(a.input_spatial));
    absl::StrAppend(&out, " kernel=", a.kernel_input_feature, ",", a.kernel_output_feature,
                    Dims(a.kernel_spatial));
    absl::StrAppend(&out, " output=", a.output_batch, ",", a.output_feature, Dims(a.output_spatial));
    if (a.feature_group_count != 1) absl::StrAppend(&out, " feature_groups=", a.feature_group_count);
    if (a.batch_group_count != 1) absl::StrAppend(&out, " batch_groups=", a.batch_group_count);
    return out;
  }
  std::string operator()(const SortAttrs& a) const {
    return absl::StrCat(" dimension=", a.dimension, a.stable ? " stable" : "");
  }
  std::string operator()(const ReducePrecisionAttrs& a) const {
    return absl::StrCat(" exponent_bits=", a.exponent_bits, " mantissa_bits=", a.mantissa_bits);
  }
  std::string operator()(const CollectiveAttrs& a) const {
    std::string out = absl::StrCat(" axes=", Dims(a.mesh_axes));
    if (opcode == Opcode::kAllReduce || opcode == Opcode::kReduceScatter)
      absl::StrAppend(&out, " kind=", NameOf(a.kind));
    if (opcode == Opcode::kAllGather || opcode == Opcode::kReduceScatter || opcode == Opcode::kAllToAll) {
      absl::StrAppend(&out, " dim=", a.dim);
    }
    if (opcode == Opcode::kAllToAll) absl::StrAppend(&out, " concat_dim=", a.concat_dim);
    if (opcode == Opcode::kCollectivePermute) absl::StrAppend(&out, " permutation=", Dims(a.permutation));
    return out;
  }
};

std::string Values(const std::vector<ValueId>& values) {
  return absl::StrJoin(values, ", ",
                       [](std::string* out, ValueId id) { absl::StrAppend(out, "%", id.value()); });
}

void PrintTo(const Graph& graph, const PrintOptions& options, int indent, std::string* out);

void PrintOpTo(const Graph& graph, const Op& op, const PrintOptions& options, int indent, std::string* out) {
  out->append(indent, ' ');
  if (!op.results.empty()) absl::StrAppend(out, Values(op.results), " = ");
  if (op.results.size() == 1) {
    absl::StrAppend(out, graph.shape(op.results[0]).ToString(), " ");
  } else if (!op.results.empty()) {
    absl::StrAppend(out, "(",
                    absl::StrJoin(op.results, ", ",
                                  [&](std::string* o, ValueId id) { o->append(graph.shape(id).ToString()); }),
                    ") ");
  }
  absl::StrAppend(out, NameOf(op.opcode), "(");
  if (const auto* parameter = std::get_if<ParameterAttrs>(&op.attrs)) {
    absl::StrAppend(out, parameter->index);
  } else if (const auto* constant = std::get_if<ConstantAttrs>(&op.attrs)) {
    absl::StrAppend(out, Text(constant->literal, options.max_literal_elements));
  } else {
    absl::StrAppend(out, Values(op.operands));
  }
  absl::StrAppend(out, ")", std::visit(AttributePrinter{op.opcode}, op.attrs));
  const ReduceKind* kind = op.regions.size() == 1 ? AsReduceKind(*op.regions[0]) : nullptr;
  if (kind != nullptr) absl::StrAppend(out, " kind=", NameOf(*kind));
  if (options.locations && !graph.location(op).empty()) absl::StrAppend(out, "  # ", graph.location(op));
  if (kind != nullptr) return;
  for (const auto& region : op.regions) {
    out->append(" {\n");
    PrintTo(*region, options, indent + 2, out);
    out->append(indent, ' ');
    out->append("}");
  }
}

void PrintTo(const Graph& graph, const PrintOptions& options, int indent, std::string* out) {
  for (const Op& op : graph.ops()) {
    PrintOpTo(graph, op, options, indent, out);
    out->append("\n");
  }
  out->append(indent, ' ');
  absl::StrAppend(out, "return ", Values(graph.results()), "\n");
}

}  // namespace

std::string Print(const Graph& graph, const PrintOptions& options) {
  std::string out;
  PrintTo(graph, options, 0, &out);
  return out;
}

std::string PrintOp(const Graph& graph, const Op& op, const PrintOptions& options) {
  std::string out;
  PrintOpTo(graph, op, options, 0, &out);
  return out;
}

}  // namespace alpa::graph
