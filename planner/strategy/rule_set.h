// All ways in which the rule table can do one op, where rules.h gives the one that follows from how its operands are.
//
// Model:  a rule is led by a split operand, by partial ones, or by a slice of the result that somebody wants; or everything is
//         replicated. Barriers and collectives over other axes do each operand by itself: their rules are asked for by part.
// Threads: pure functions.
#pragma once

#include <optional>
#include <vector>

#include "planner/strategy/rules.h"

namespace alpa::planner {

// Whether each operand of `op` is treated by itself: part p reads operand p and makes result p.
bool HandlesOperandsSeparately(const graph::Op& op);

// Every dimension of an array that `n` chunks divide, split.
std::vector<AxisState> SplitsOf(const std::vector<int64_t>& dims, int64_t n);

// The distinct rules of an op, everything replicated first. `operands`: by operand, states that it might be in; `results`: slices
// that might be wanted of a single result. REQUIRES: not HandlesOperandsSeparately(op).
std::vector<OpRule> RulesOf(const RuleContext& context, const graph::Op& op, const std::vector<std::vector<AxisState>>& operands,
                            const std::vector<AxisState>& results);

// The same for one part; the rules have one operand and one result.
std::vector<OpRule> RulesOfPart(const RuleContext& context, const graph::Op& op, size_t part, const std::vector<AxisState>& states);

// The rule that reads operands in exactly these states and makes result `result` in `state`; nothing where the table has none, or
// a state does not fit its array. Whatever the arguments are.
std::optional<OpRule> RuleReading(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& operands,
                                  size_t result, const AxisState& state);

// The rule that makes result `result` in `state` and leaves most bytes of the operands as they are in `states`; nothing where
// there is none.
std::optional<OpRule> RuleMaking(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& states,
                                 size_t result, const AxisState& state);

}  // namespace alpa::planner
