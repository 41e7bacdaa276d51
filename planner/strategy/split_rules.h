// The two halves of the rule table: ops on split operands, and linear ops on partial ones. Use through rules.h.
#pragma once

#include <optional>

#include "planner/strategy/rules.h"

namespace alpa::planner {

// The rule in which operand `lead` (split) stays as it is; nothing where the op cannot keep that split.
std::optional<OpRule> SplitRule(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& states,
                                size_t lead);

// The rule that keeps partial operands partial. REQUIRES: no operand is split, at least one is partial.
std::optional<OpRule> PartialRule(const RuleContext& context, const graph::Op& op,
                                  const std::vector<AxisState>& states);

// The rule of a collective over other mesh axes, which an axis that comes later passes through where it can; operands that
// cannot are wanted whole.
OpRule CollectiveRule(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& states);

// Where a split of `from` stands after a reshape to `to`; nothing where no single dimension carries it.
std::optional<AxisState> ReshapeSplit(const std::vector<int64_t>& from, const AxisState& split,
                                      const std::vector<int64_t>& to, int64_t chunks);

}  // namespace alpa::planner
