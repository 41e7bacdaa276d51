#include "planner/strategy/rule_set.h"

#include <algorithm>

#include "planner/strategy/split_rules.h"

namespace alpa::planner {

using graph::Op;
using graph::Opcode;
using graph::ReduceKind;

namespace {

// The maximum number of operands for which AddPartials tries every combination of partial operands. With more operands,
// it only tries combinations in which one operand is partial, and the combination in which all are.
constexpr size_t kMostMasked = 3;

bool Fits(const graph::Shape& shape, const AxisState& state, int64_t chunks) {
  if (!state.split()) return true;
  if (state.dim < 0 || state.dim >= shape.rank() || state.outer < 1 || state.outer > shape.dims[state.dim]) {
    return false;
  }
  return CanSplit(shape.dims, state.dim, state.outer, chunks);
}

class Collector {
 public:
  Collector(const RuleContext& context, const Op& op) : context_(context), op_(op) {}

  void Add(std::optional<OpRule> rule) {
    if (!rule) return;
    for (size_t i = 0; i < op_.operands.size(); ++i) {
      if (!Fits(context_.graph->shape(op_.operands[i]), rule->operands[i], context_.chunks)) return;
    }
    for (size_t r = 0; r < op_.results.size(); ++r) {
      if (!Fits(context_.graph->shape(op_.results[r]), rule->results[r], context_.chunks)) return;
    }
    const bool known = std::any_of(rules_.begin(), rules_.end(), [&](const OpRule& other) { return other == *rule; });
    if (!known) rules_.push_back(*std::move(rule));
  }

  void AddReplicated() {
    Add(OpRule{std::vector<AxisState>(op_.operands.size()), std::vector<AxisState>(op_.results.size())});
  }

  void AddSplits(const std::vector<std::vector<AxisState>>& operands) {
    std::vector<AxisState> states(op_.operands.size());
    for (size_t lead = 0; lead < states.size(); ++lead) {
      for (const AxisState& state : operands[lead]) {
        if (!state.split() || !Fits(context_.graph->shape(op_.operands[lead]), state, context_.chunks)) continue;
        states[lead] = state;
        Add(SplitRule(context_, op_, states, lead));
        states[lead] = AxisState::Replicated();
      }
    }
  }

  // A replicated operand can serve as a partial one: the first device holds the value, the others hold the identity.
  // Therefore, if one operand may be partial, every operand may be partial.
  void AddPartials(const std::vector<std::vector<AxisState>>& operands) {
    const size_t n = operands.size();
    std::vector<uint64_t> masks;
    if (n <= kMostMasked) {
      for (uint64_t mask = 1; mask < uint64_t{1} << n; ++mask) masks.push_back(mask);
    } else if (n < 64) {
      masks.push_back((uint64_t{1} << n) - 1);
      for (size_t i = 0; i < n; ++i) masks.push_back(uint64_t{1} << i);
    }
    for (int kind = 0; kind <= static_cast<int>(ReduceKind::kProduct); ++kind) {
      const AxisState partial = AxisState::Partial(static_cast<ReduceKind>(kind));
      const bool any = std::any_of(operands.begin(), operands.end(), [&](const std::vector<AxisState>& states) {
        return std::find(states.begin(), states.end(), partial) != states.end();
      });
      if (!any) continue;
      for (uint64_t mask : masks) {
        std::vector<AxisState> states(n);
        for (size_t i = 0; i < n; ++i) {
          if (mask >> i & 1) states[i] = partial;
        }
        Add(PartialRule(context_, op_, states));
      }
    }
  }

  void AddSlices(const std::vector<AxisState>& results) {
    if (op_.results.size() != 1) return;
    for (const AxisState& result : results) {
      if (!result.split() || !Fits(context_.graph->shape(op_.results[0]), result, context_.chunks)) continue;
      std::optional<std::vector<AxisState>> operands = OperandsForSlice(context_, op_, result);
      if (operands) Add(OpRule{*std::move(operands), {result}});
    }
  }

  std::vector<OpRule> Take() { return std::move(rules_); }

 private:
  const RuleContext& context_;
  const Op& op_;
  std::vector<OpRule> rules_;
};

// Returns the operand bytes that the rule reads in their current state, minus the bytes of split and partial operands
// that it converts.
int64_t UnconvertedBytes(const RuleContext& context, const Op& op, const std::vector<AxisState>& states,
                         const OpRule& rule) {
  int64_t kept = 0;
  for (size_t i = 0; i < states.size(); ++i) {
    const int64_t bytes = context.graph->shape(op.operands[i]).bytes() + 1;
    if (rule.operands[i] == states[i]) kept += bytes;
    else if (!states[i].replicated()) kept -= bytes;
  }
  return kept;
}

}  // namespace

bool HandlesOperandsSeparately(const Op& op) {
  return op.opcode == Opcode::kOptimizationBarrier ||
         (graph::IsCollective(op.opcode) && op.operands.size() == op.results.size());
}

std::vector<AxisState> SplitsOf(const std::vector<int64_t>& dims, int64_t n) {
  std::vector<AxisState> splits;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (CanSplit(dims, static_cast<int64_t>(d), 1, n)) splits.push_back(AxisState::Split(static_cast<int64_t>(d)));
  }
  return splits;
}

std::vector<OpRule> RulesOf(const RuleContext& context, const Op& op,
                            const std::vector<std::vector<AxisState>>& operands,
                            const std::vector<AxisState>& results) {
  Collector rules(context, op);
  rules.AddReplicated();
  rules.AddSplits(operands);
  rules.AddPartials(operands);
  rules.AddSlices(results);
  return rules.Take();
}

std::vector<OpRule> RulesOfPart(const RuleContext& context, const Op& op, size_t part,
                                const std::vector<AxisState>& states) {
  std::vector<OpRule> rules = {{{AxisState::Replicated()}, {AxisState::Replicated()}}};
  for (const AxisState& state : states) {
    if (state.replicated() || !Fits(context.graph->shape(op.operands[part]), state, context.chunks)) continue;
    std::vector<AxisState> all(op.operands.size());
    all[part] = state;
    const OpRule whole =
        op.opcode == Opcode::kOptimizationBarrier ? OpRule{all, all} : CollectiveRule(context, op, all);
    const OpRule rule{{whole.operands[part]}, {whole.results[part]}};
    if (!Fits(context.graph->shape(op.results[part]), rule.results[0], context.chunks)) continue;
    if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
  }
  return rules;
}

std::optional<OpRule> RuleReading(const RuleContext& context, const Op& op, const std::vector<AxisState>& operands,
                                  size_t result, const AxisState& state) {
  if (operands.size() != op.operands.size() || result >= op.results.size()) return std::nullopt;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (!Fits(context.graph->shape(op.operands[i]), operands[i], context.chunks)) return std::nullopt;
  }
  if (!Fits(context.graph->shape(op.results[result]), state, context.chunks)) return std::nullopt;
  std::vector<std::vector<AxisState>> arriving;
  for (const AxisState& operand : operands) arriving.push_back({operand});
  std::vector<OpRule> rules = RulesOf(context, op, arriving, {state});
  const bool any_split = std::any_of(operands.begin(), operands.end(), [](const AxisState& s) { return s.split(); });
  const bool any_partial =
      std::any_of(operands.begin(), operands.end(), [](const AxisState& s) { return s.partial(); });
  if (!any_split && any_partial) {
    if (std::optional<OpRule> rule = PartialRule(context, op, operands)) rules.push_back(*std::move(rule));
  }
  for (OpRule& rule : rules) {
    if (rule.operands == operands && rule.results[result] == state) return std::move(rule);
  }
  return std::nullopt;
}

std::optional<OpRule> RuleMaking(const RuleContext& context, const Op& op, const std::vector<AxisState>& states,
                                 size_t result, const AxisState& state) {
  if (result >= op.results.size() || !Fits(context.graph->shape(op.results[result]), state, context.chunks)) {
    return std::nullopt;
  }
  std::vector<std::vector<AxisState>> arriving;
  for (size_t i = 0; i < states.size(); ++i) {
    std::vector<AxisState> possible = SplitsOf(context.graph->shape(op.operands[i]).dims, context.chunks);
    if (state.partial()) possible.push_back(state);
    if (!states[i].replicated()) possible.push_back(states[i]);
    arriving.push_back(std::move(possible));
  }
  std::optional<OpRule> best;
  for (OpRule& rule : RulesOf(context, op, arriving, {state})) {
    if (rule.results[result] != state) continue;
    if (!best || UnconvertedBytes(context, op, states, rule) > UnconvertedBytes(context, op, states, *best)) {
      best = std::move(rule);
    }
  }
  return best;
}

}  // namespace alpa::planner
