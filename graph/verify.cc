#include "graph/verify.h"

#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"

namespace alpa::graph {
namespace {

// Limits the levels of nested regions, because Check recurses into them.
constexpr int kMaxNesting = 256;

class Verifier {
 public:
  explicit Verifier(const VerifyOptions& options) : options_(options) {}

  absl::Status Check(const Graph& graph, int depth) {
    if (depth > kMaxNesting) return InvalidArgument("regions nest deeper than %d levels", kMaxNesting);
    size_t defined = 0;  // number of values so far; the results of the next op must have the next numbers
    size_t parameters = 0;
    for (int i = 0; i < graph.size(); ++i) {
      const Op& op = graph.ops()[i];
      absl::Status status = CheckOp(graph, OpId(i), op, defined, parameters, depth);
      if (!status.ok()) return Annotate(status, Where(graph, OpId(i), op));
      defined += op.results.size();
      if (op.opcode == Opcode::kParameter) ++parameters;
    }
    if (defined != graph.values().size()) {
      return InvalidArgument("the ops define %d values, but the graph has %d", defined, graph.values().size());
    }
    if (parameters != graph.parameters().size()) {
      return InvalidArgument("the graph has %d parameter ops, but %d parameters", parameters,
                             graph.parameters().size());
    }
    for (size_t i = 0; i < graph.results().size(); ++i) {
      const ValueId result = graph.results()[i];
      if (!result.valid() || static_cast<size_t>(result.value()) >= defined) {
        return InvalidArgument("result %d of the graph is value %d, which no op defines", i, result.value());
      }
    }
    return absl::OkStatus();
  }

 private:
  static std::string Where(const Graph& graph, OpId id, const Op& op) {
    std::string text = absl::StrCat("op ", id.value(), " (", NameOf(op.opcode));
    const std::string location = graph.location(op);
    if (!location.empty()) absl::StrAppend(&text, ", ", location);
    return text + ")";
  }

  absl::Status CheckOp(const Graph& graph, OpId id, const Op& op, size_t defined, size_t parameters,
                       int depth) {
    if (op.opcode > Opcode::kAxisIndex)
      return InvalidArgument("opcode %d is unknown", static_cast<int>(op.opcode));
    if ((IsCollective(op.opcode) || op.opcode == Opcode::kAxisIndex) && !options_.allow_collectives) {
      return InvalidArgument("is outside a stage program; collectives are allowed only in stage programs");
    }
    std::vector<Shape> operands;
    operands.reserve(op.operands.size());
    for (ValueId operand : op.operands) {
      if (!operand.valid() || static_cast<size_t>(operand.value()) >= defined) {
        return InvalidArgument("reads value %d before it is defined", operand.value());
      }
      operands.push_back(graph.shape(operand));
    }
    std::vector<Shape> declared;
    declared.reserve(op.results.size());
    for (size_t i = 0; i < op.results.size(); ++i) {
      const ValueId result = op.results[i];
      if (static_cast<size_t>(result.value()) != defined + i ||
          static_cast<size_t>(result.value()) >= graph.values().size() || graph.value(result).op != id ||
          graph.value(result).result != static_cast<int32_t>(i)) {
        return InvalidArgument("result %d is value %d, which is out of order", i, result.value());
      }
      ALPA_RETURN_IF_ERROR(CheckShape(graph.shape(result)));
      declared.push_back(graph.shape(result));
    }
    // Check the regions first, because the shape rules read their parameters and results.
    for (const auto& region : op.regions) {
      if (region != nullptr && !checked_.contains(region.get())) {
        ALPA_RETURN_IF_ERROR(Check(*region, depth + 1));
        checked_.insert(region.get());
      }
    }
    ALPA_ASSIGN_OR_RETURN(const std::vector<Shape> inferred,
                          InferShapes(op.opcode, operands, op.attrs, op.regions, declared));
    if (inferred.size() != declared.size()) {
      return InvalidArgument("has %d results, but needs %d", declared.size(), inferred.size());
    }
    for (size_t i = 0; i < inferred.size(); ++i) {
      if (inferred[i] != declared[i]) {
        return InvalidArgument("result %d is declared %s, but its operands give %s", i, declared[i].ToString(),
                               inferred[i].ToString());
      }
    }
    if (op.opcode == Opcode::kParameter) return CheckParameter(graph, op, parameters);
    if (const auto* attrs = std::get_if<CollectiveAttrs>(&op.attrs)) {
      return CheckCollective(op.opcode, *attrs, operands, declared);
    }
    return absl::OkStatus();
  }

  static absl::Status CheckShape(const Shape& shape) {
    int64_t bytes = 0;
    switch (shape.dtype) {
      case DType::kPred:
      case DType::kS8:
      case DType::kS16:
      case DType::kS32:
      case DType::kS64:
      case DType::kU8:
      case DType::kU16:
      case DType::kU32:
      case DType::kU64:
      case DType::kF16:
      case DType::kF32:
      case DType::kF64:
      case DType::kBF16:
        bytes = SizeOf(shape.dtype);
        break;
      default:
        return InvalidArgument("element type %d is unknown", static_cast<int>(shape.dtype));
    }
    // This product counts a dimension of size 0 as 1, so that it also limits the strides to 64 bits.
    for (int64_t dim : shape.dims) {
      if (dim < 0) return InvalidArgument("%s has a negative dimension", shape.ToString());
      if (__builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes)) {
        return InvalidArgument("the size of %s in bytes does not fit in 64 bits", shape.ToString());
      }
    }
    return absl::OkStatus();
  }

  static absl::Status CheckParameter(const Graph& graph, const Op& op, size_t parameters) {
    const int64_t index = op.as<ParameterAttrs>().index;
    if (index != static_cast<int64_t>(parameters) || parameters >= graph.parameters().size() ||
        graph.parameters()[parameters] != op.results[0]) {
      return InvalidArgument("is parameter %d, but must be parameter %d: parameters must be in order of their index",
                             index, parameters);
    }
    return absl::OkStatus();
  }

  absl::Status CheckCollective(Opcode opcode, const CollectiveAttrs& attrs,
                               const std::vector<Shape>& operands, const std::vector<Shape>& results) const {
    if (attrs.kind > ReduceKind::kProduct) return InvalidArgument("reduction kind is unknown");
    if (options_.mesh_shape.empty()) return absl::OkStatus();
    int64_t group = 1;
    std::vector<bool> seen(options_.mesh_shape.size());
    for (int64_t axis : attrs.mesh_axes) {
      if (axis < 0 || axis >= static_cast<int64_t>(seen.size()) || seen[axis]) {
        return InvalidArgument("mesh axis %d is not one of the mesh's %d axes, or is named twice", axis, seen.size());
      }
      seen[axis] = true;
      group *= options_.mesh_shape[axis];
    }
    const auto resized = [&](int64_t dim, int64_t from, int64_t to) -> absl::Status {
      if (from == to) return absl::OkStatus();
      return InvalidArgument("with dimension %d of %s, the result cannot be %s in a group of %d devices", dim,
                             operands[0].ToString(), results[0].ToString(), group);
    };
    switch (opcode) {
      case Opcode::kAllGather:
        return resized(attrs.dim, operands[0].dims[attrs.dim] * group, results[0].dims[attrs.dim]);
      case Opcode::kReduceScatter:
        return resized(attrs.dim, operands[0].dims[attrs.dim], results[0].dims[attrs.dim] * group);
      case Opcode::kAllToAll:
        if (attrs.dim == attrs.concat_dim) {
          if (operands[0].dims[attrs.dim] % group != 0) return resized(attrs.dim, 0, 1);
          return resized(attrs.dim, operands[0].dims[attrs.dim], results[0].dims[attrs.dim]);
        }
        ALPA_RETURN_IF_ERROR(
            resized(attrs.dim, operands[0].dims[attrs.dim], results[0].dims[attrs.dim] * group));
        return resized(attrs.concat_dim, operands[0].dims[attrs.concat_dim] * group,
                       results[0].dims[attrs.concat_dim]);
      case Opcode::kCollectivePermute: {
        if (static_cast<int64_t>(attrs.permutation.size()) != group) {
          return InvalidArgument("permutation has %d entries for a group of %d devices", attrs.permutation.size(),
                                 group);
        }
        std::vector<bool> receives(static_cast<size_t>(group));
        for (int64_t to : attrs.permutation) {
          if (to < -1 || to >= group || (to >= 0 && receives[to])) {
            return InvalidArgument("destination rank %d is outside the group of %d devices, or receives twice", to,
                                   group);
          }
          if (to >= 0) receives[to] = true;
        }
        return absl::OkStatus();
      }
      default:
        return absl::OkStatus();
    }
  }

  const VerifyOptions& options_;
  // Regions that passed the check. An unrolled loop can share its regions among thousands of ops.
  absl::flat_hash_set<const Graph*> checked_;
};

}  // namespace

absl::Status Verify(const Graph& graph, const VerifyOptions& options) {
  return Verifier(options).Check(graph, 0);
}

}  // namespace alpa::graph
