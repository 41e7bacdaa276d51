// Lists every sharding rule of an op. `ChooseRule` (rules.h) picks one of these rules by the states of the operands.
//
// Model:  A rule follows from one split operand, from partial operands, or from a slice of the result that a reader
//         needs. One more rule keeps all operands and results replicated. Barriers and collectives over other axes
//         handle each operand separately: `RulesOfPart` lists the rules of one operand and its result.
// Threads: pure functions.
#pragma once

#include <optional>
#include <vector>

#include "planner/strategy/rules.h"

namespace alpa::planner {

// Returns whether `op` handles each operand separately: part p reads operand p and produces result p.
bool HandlesOperandsSeparately(const graph::Op& op);

// Returns the state Split(d) for each dimension d that is not empty and whose size is a multiple of `n`. `dims`: the
// sizes of all dimensions.
std::vector<AxisState> SplitsOf(const std::vector<int64_t>& dims, int64_t n);

// Returns the distinct rules of an op. In the first rule, all operands and results are replicated. `operands`: one
// entry per operand, the states in which it might arrive. `results`: the slices that readers might need, if the op has
// a single result.
// REQUIRES: not HandlesOperandsSeparately(op).
std::vector<OpRule> RulesOf(const RuleContext& context, const graph::Op& op,
                            const std::vector<std::vector<AxisState>>& operands,
                            const std::vector<AxisState>& results);

// Returns the distinct rules of one part (see HandlesOperandsSeparately). Each rule has one operand and one result, and
// the first rule is replicated. `states`: the states in which the operand might arrive. REQUIRES:
// HandlesOperandsSeparately(op).
std::vector<OpRule> RulesOfPart(const RuleContext& context, const graph::Op& op, size_t part,
                                const std::vector<AxisState>& states);

// Returns the rule that reads the operands in exactly the states `operands` and produces result `result` in `state`.
// Returns nullopt if the table has no such rule, or if a state does not fit its array. `operands`, `result` and `state`
// may be invalid.
std::optional<OpRule> RuleReading(const RuleContext& context, const graph::Op& op,
                                  const std::vector<AxisState>& operands, size_t result, const AxisState& state);

// Returns the rule that produces result `result` in `state`. Of several such rules, returns the one that converts the
// fewest operand bytes. `states`: the current states of the operands. Returns nullopt if there is no such rule.
std::optional<OpRule> RuleMaking(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& states,
                                 size_t result, const AxisState& state);

}  // namespace alpa::planner
