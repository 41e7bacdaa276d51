#include "graph/import_custom_call.h"

#include <memory>
#include <utility>

#include "base/status.h"
#include "graph/import_shape.h"
#include "graph/verify.h"

namespace alpa::graph::internal {
namespace {

// Returns the comparator (a, b, index of a, index of b) -> "a comes before b". The comparator ignores the indices.
std::shared_ptr<const Graph> ByValue(DType dtype, bool largest) {
  GraphBuilder builder;
  const ValueId a = builder.Parameter({dtype, {}});
  const ValueId b = builder.Parameter({dtype, {}});
  builder.Parameter({DType::kS32, {}});
  builder.Parameter({DType::kS32, {}});
  const CompareAttrs attrs{largest ? CompareDirection::kGt : CompareDirection::kLt, IsFloat(dtype)};
  builder.SetResults(builder.AddOp(Opcode::kCompare, {a, b}, {{DType::kPred, {}}}, attrs));
  return std::make_shared<const Graph>(builder.Build());
}

bool IsAnnotation(const std::string& target) {
  static constexpr const char* kTargets[] = {
      "Sharding",   "SPMDFullToShardShape", "SPMDShardToFullShape",      "xla.sdy.FuncResultSharding",
      "MoveToHost", "MoveToDevice",         "annotate_device_placement", "LayoutConstraint",
  };
  for (const char* known : kTargets) {
    if (target == known) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::vector<ValueId>> EmitTopK(const std::vector<ValueId>& operands, bool largest,
                                              const std::vector<Shape>& declared, const std::string& location,
                                              GraphBuilder& builder) {
  if (operands.size() != 1) return InvalidArgument("has %d operands, but needs 1", operands.size());
  const Shape input = builder.shape(operands[0]);
  const bool two = declared.size() == 2 && input.rank() > 0 && declared[0].rank() == input.rank();
  if (!two || declared[0].dims.back() > input.dims.back()) {
    return InvalidArgument(
        "operand %s does not match the results; they must be k values and the k indices of these values",
        input.ToString());
  }
  Shape values = input;
  values.dims.back() = declared[0].dims.back();
  const Shape indices{DType::kS32, values.dims};
  if (declared[0] != values || declared[1] != indices) {
    return InvalidArgument("is declared as %s and %s, but its operand gives %s and %s", declared[0].ToString(),
                           declared[1].ToString(), values.ToString(), indices.ToString());
  }
  const int64_t last = input.rank() - 1;
  const Shape positions{DType::kS32, input.dims};
  const ValueId iota = builder.AddOp(Opcode::kIota, {}, {positions}, DimsAttrs{{last}}, {}, location)[0];
  const std::vector<ValueId> sorted =
      builder.AddOp(Opcode::kSort, {operands[0], iota}, {input, positions}, SortAttrs{last, true},
                    {ByValue(input.dtype, largest)}, location);
  const SliceAttrs cut{std::vector<int64_t>(input.dims.size(), 0), values.dims,
                       std::vector<int64_t>(input.dims.size(), 1)};
  return std::vector<ValueId>{builder.AddOp(Opcode::kSlice, {sorted[0]}, {values}, cut, {}, location)[0],
                              builder.AddOp(Opcode::kSlice, {sorted[1]}, {indices}, cut, {}, location)[0]};
}

absl::StatusOr<std::vector<ValueId>> EmitCustomCall(const hlo::Instruction& in,
                                                    const std::vector<ValueId>& operands,
                                                    const std::vector<Shape>& declared,
                                                    const std::string& location, GraphBuilder& builder) {
  const std::string& target = in.custom_call_target();
  if (target == "TopK") return EmitTopK(operands, /*largest=*/true, declared, location, builder);
  if (IsAnnotation(target)) {
    if (operands.size() != declared.size()) {
      return InvalidArgument("has %d operands, but %d results", operands.size(), declared.size());
    }
    for (size_t i = 0; i < operands.size(); ++i) {
      if (builder.shape(operands[i]) != declared[i]) {
        return Unimplemented("changes %s to %s; a program must be written for one device",
                             builder.shape(operands[i]).ToString(), declared[i].ToString());
      }
    }
    return operands;
  }
  if (target == "mhlo.erf" && operands.size() == 1 && declared.size() == 1 &&
      builder.shape(operands[0]) == declared[0] && IsFloat(declared[0].dtype)) {
    return builder.AddOp(Opcode::kErf, operands, declared, {}, {}, location);
  }
  return Unimplemented("is not supported");
}

}  // namespace alpa::graph::internal
