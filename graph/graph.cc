#include "graph/graph.h"

#include "absl/container/flat_hash_map.h"
#include "base/status.h"

namespace alpa::graph {

absl::string_view NameOf(Opcode opcode) {
  switch (opcode) {
#define ALPA_OPCODE(name, text) \
  case Opcode::k##name:         \
    return text;
    ALPA_OPCODES(ALPA_OPCODE)
#undef ALPA_OPCODE
  }
  return "unknown";
}

absl::StatusOr<Opcode> ParseOpcode(absl::string_view name) {
  static const auto* const by_name = new absl::flat_hash_map<absl::string_view, Opcode>({
#define ALPA_OPCODE(name, text) {text, Opcode::k##name},
      ALPA_OPCODES(ALPA_OPCODE)
#undef ALPA_OPCODE
  });
  const auto found = by_name->find(name);
  if (found == by_name->end()) return InvalidArgument("\"%s\" is not an opcode", Excerpt(name));
  return found->second;
}

bool IsElementwise(Opcode opcode) { return opcode >= Opcode::kAbs && opcode <= Opcode::kSelect; }
bool IsProduct(Opcode opcode) { return opcode == Opcode::kDot || opcode == Opcode::kConvolution; }
bool IsCollective(Opcode opcode) { return opcode >= Opcode::kAllGather && opcode <= Opcode::kReduceScatter; }

absl::string_view NameOf(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::kSum:
      return "sum";
    case ReduceKind::kMax:
      return "max";
    case ReduceKind::kMin:
      return "min";
    case ReduceKind::kAnd:
      return "and";
    case ReduceKind::kOr:
      return "or";
    case ReduceKind::kProduct:
      return "product";
  }
  return "unknown";
}

std::string Graph::location(const Op& op) const {
  if (op.location < 0 || op.location >= static_cast<int32_t>(locations_.size())) return "";
  return locations_[op.location];
}

std::vector<std::vector<OpId>> Uses(const Graph& graph) {
  std::vector<std::vector<OpId>> uses(graph.values().size());
  for (int i = 0; i < graph.size(); ++i) {
    for (ValueId operand : graph.ops()[i].operands) uses[operand.value()].push_back(OpId(i));
  }
  return uses;
}

const ReduceKind* AsReduceKind(const Graph& region) {
  static constexpr struct {
    Opcode opcode;
    ReduceKind kind;
  } kKinds[] = {
      {Opcode::kAdd, ReduceKind::kSum},     {Opcode::kMaximum, ReduceKind::kMax},
      {Opcode::kMinimum, ReduceKind::kMin}, {Opcode::kAnd, ReduceKind::kAnd},
      {Opcode::kOr, ReduceKind::kOr},       {Opcode::kMultiply, ReduceKind::kProduct},
  };
  if (region.parameters().size() != 2 || region.results().size() != 1) return nullptr;
  const Op& op = region.def(region.results()[0]);
  if (op.operands.size() != 2) return nullptr;
  const ValueId a = region.parameters()[0], b = region.parameters()[1];
  const bool both =
      (op.operands[0] == a && op.operands[1] == b) || (op.operands[0] == b && op.operands[1] == a);
  if (!both) return nullptr;
  for (const auto& row : kKinds) {
    if (row.opcode == op.opcode) return &row.kind;
  }
  return nullptr;
}

}  // namespace alpa::graph
