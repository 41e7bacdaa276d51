#include "planner/strategy/rules.h"

#include <algorithm>

#include "planner/strategy/split_rules.h"

namespace alpa::planner {

using graph::Op;
using graph::Opcode;

namespace {

// Returns the bytes of split and partial operands that the rule reads in their current state, minus the bytes of those
// that it converts.
int64_t ShardedBytesKept(const RuleContext& context, const Op& op, const std::vector<AxisState>& states,
                         const OpRule& rule) {
  int64_t kept = 0;
  for (size_t i = 0; i < states.size(); ++i) {
    const int64_t bytes = context.graph->shape(op.operands[i]).bytes() + 1;
    if (states[i].replicated()) continue;
    kept += rule.operands[i] == states[i] ? bytes : -bytes;
  }
  return kept;
}

OpRule AllReplicated(const Op& op) {
  return {std::vector<AxisState>(op.operands.size()), std::vector<AxisState>(op.results.size())};
}

}  // namespace

OpRule ChooseRule(const RuleContext& context, const Op& op, const std::vector<AxisState>& states) {
  const bool any_split = std::any_of(states.begin(), states.end(), [](const AxisState& s) { return s.split(); });
  const bool any_partial = std::any_of(states.begin(), states.end(), [](const AxisState& s) { return s.partial(); });
  if (!any_split && !any_partial) return AllReplicated(op);
  if (op.opcode == Opcode::kOptimizationBarrier) return {states, states};
  if (graph::IsCollective(op.opcode)) return CollectiveRule(context, op, states);
  if (any_split) {
    std::optional<OpRule> best;
    int64_t best_kept = 0;
    for (size_t lead = 0; lead < states.size(); ++lead) {
      if (!states[lead].split()) continue;
      std::optional<OpRule> rule = SplitRule(context, op, states, lead);
      if (!rule) continue;
      const int64_t kept = ShardedBytesKept(context, op, states, *rule);
      if (!best || kept > best_kept) {
        best = std::move(rule);
        best_kept = kept;
      }
    }
    return best ? *best : AllReplicated(op);
  }
  std::optional<OpRule> rule = PartialRule(context, op, states);
  return rule ? *rule : AllReplicated(op);
}

}  // namespace alpa::planner
