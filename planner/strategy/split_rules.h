// Declares the three parts of the rule table: ops on split operands, linear ops on partial operands, and collectives.
// Code outside this folder includes rules.h or rule_set.h instead.
#pragma once

#include <optional>

#include "planner/strategy/rules.h"

namespace alpa::planner {

// Returns the rule that keeps the split of operand `lead`. Returns nullopt if the op cannot work on that split.
// REQUIRES: operand `lead` is split.
std::optional<OpRule> SplitRule(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& states,
                                size_t lead);

// Returns the rule that keeps partial operands partial. Returns nullopt if the op does not commute with the reduction.
// REQUIRES: no operand is split, and at least one operand is partial.
std::optional<OpRule> PartialRule(const RuleContext& context, const graph::Op& op,
                                  const std::vector<AxisState>& states);

// Returns the rule of a collective over other mesh axes. An operand keeps its state along this axis if the collective
// allows it. Otherwise the collective needs the operand replicated.
OpRule CollectiveRule(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& states);

// Views dimension `dim` as a row of blocks of `block` elements. Returns the state that splits each block into `chunks`
// slices. Returns nullopt if the dimension does not consist of such blocks.
std::optional<AxisState> SplitOfBlocks(const std::vector<int64_t>& dims, int64_t dim, int64_t block, int64_t chunks);

// Returns the state of the result if an array with dimensions `from` in state `split` is reshaped to dimensions `to`.
// Returns nullopt if no single dimension of `to` can carry the split.
std::optional<AxisState> ReshapeSplit(const std::vector<int64_t>& from, const AxisState& split,
                                      const std::vector<int64_t>& to, int64_t chunks);

}  // namespace alpa::planner
