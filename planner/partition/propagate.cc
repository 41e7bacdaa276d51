#include "planner/partition/propagate.h"

#include <algorithm>

#include "base/status.h"
#include "planner/strategy/rule_set.h"

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;

namespace {

// The maximum number of passes over the program for one set of pins.
constexpr int kMaxPasses = 4;

bool KeepsZero(const Op& op) {
  switch (op.opcode) {
    case Opcode::kBroadcast: case Opcode::kReshape: case Opcode::kTranspose: case Opcode::kConvert: case Opcode::kCopy:
    case Opcode::kSlice: case Opcode::kReverse: case Opcode::kConcatenate: case Opcode::kAllReduce:
    case Opcode::kAllGather:
      return true;
    default: return false;
  }
}

// Returns the state in which a part of a barrier or collective reads its operand to produce its result in `state`.
// Returns nullopt if the part cannot produce this state.
std::optional<AxisState> PartMaking(const RuleContext& context, const Op& op, size_t part, const AxisState& state) {
  std::vector<AxisState> possible = SplitsOf(context.graph->shape(op.operands[part]).dims, context.chunks);
  possible.push_back(state);
  for (const OpRule& rule : RulesOfPart(context, op, part, possible)) {
    if (rule.results[0] == state) return rule.operands[0];
  }
  return std::nullopt;
}

absl::Status CheckPin(const RuleContext& context, const plan::ValuePin& pin) {
  const Graph& program = *context.graph;
  if (pin.value < 0 || pin.value >= static_cast<int32_t>(program.values().size())) {
    return InvalidArgument("a pin names value %d, but the program has %d values", pin.value, program.values().size());
  }
  const graph::Value& value = program.value(ValueId(pin.value));
  const Op& op = program.op(value.op);
  if (op.opcode == Opcode::kParameter) {
    return InvalidArgument("a pin names value %d, which is a parameter; use a cut of its leaf instead", pin.value);
  }
  bool possible = false;
  if (HandlesOperandsSeparately(op)) {
    const auto part = static_cast<size_t>(value.result);
    if (pin.operands.empty()) {
      possible = PartMaking(context, op, part, pin.state).has_value();
    } else if (pin.operands.size() == 1) {
      for (const OpRule& rule : RulesOfPart(context, op, part, {pin.operands[0]})) {
        possible = possible || (rule.operands[0] == pin.operands[0] && rule.results[0] == pin.state);
      }
    }
  } else {
    const auto result = static_cast<size_t>(value.result);
    const std::vector<AxisState> whole(op.operands.size());
    possible = (pin.operands.empty() ? RuleMaking(context, op, whole, result, pin.state)
                                     : RuleReading(context, op, pin.operands, result, pin.state)).has_value();
  }
  if (possible) return absl::OkStatus();
  std::string from;
  for (const AxisState& state : pin.operands) absl::StrAppend(&from, from.empty() ? " from " : ", ", state.ToString());
  return InvalidArgument("a pin requires value %d, a %s of %s, in state %s%s, which that op cannot produce", pin.value,
                         graph::NameOf(op.opcode), value.shape.ToString(), pin.state.ToString(), from);
}

class Propagator {
 public:
  Propagator(const Graph& program, const std::vector<ValueState>& parameters, const PropagateOptions& options)
      : program_(program), parameters_(parameters), options_(options) {
    out_.values.resize(program.values().size());
    context_ = ContextOf(program, options.axis, out_.values);
    pins_.resize(program.values().size());
    for (const plan::ValuePin& pin : options_.pins) pins_[pin.value] = pin;
  }

  // Runs all passes again whenever pins are added, so that no decision depends on an earlier set of pins.
  Propagation Run() {
    do {
      more_pins_ = false;
      RunPasses();
    } while (more_pins_);
    for (const std::optional<plan::ValuePin>& pin : pins_) {
      if (pin) out_.pins.push_back(*pin);
    }
    return std::move(out_);
  }

 private:
  // Repeats the pass until it finds no new partial sum whose reduced value an op needs. If one op needs the reduced
  // value, all other readers use it too. They do not pass the partial sum on, to be reduced later.
  void RunPasses() {
    truths_.assign(program_.values().size(), std::nullopt);
    for (int pass = 0; pass < kMaxPasses; ++pass) {
      more_truths_ = false;
      out_.rules.clear();
      for (const Op& op : program_.ops()) out_.rules.push_back(Decide(op));
      if (!more_truths_) break;
    }
  }

  ValueState& value(ValueId v) { return out_.values[v.value()]; }

  OpRule Decide(const Op& op) {
    if (op.opcode == Opcode::kParameter) {
      const ValueState& given = parameters_[op.as<graph::ParameterAttrs>().index];
      value(op.results[0]) = given;
      return {{}, {given.state}};
    }
    std::vector<AxisState> states;
    bool zero = !op.operands.empty() && KeepsZero(op);
    for (ValueId v : op.operands) {
      states.push_back(value(v).state);
      zero = zero && value(v).zero;
    }
    if (op.opcode == Opcode::kConstant) zero = op.as<graph::ConstantAttrs>().literal.AllEqual(0);
    plan::CutRank rank = plan::CutRank::kStored;
    const bool in_parts = HandlesOperandsSeparately(op);
    const size_t pinned = in_parts ? op.results.size() : FirstPinnedResult(op);
    OpRule rule;
    if (pinned < op.results.size()) {
      rule = RuleOf(op, states, *pins_[op.results[pinned].value()], pinned);
      rank = plan::CutRank::kPinned;
    } else {
      rule = Choose(op, states, rank);
      if (!in_parts && options_.like != nullptr && rule != Like(op)) {
        rule = Like(op);
        rank = plan::CutRank::kPinned;
        Pin(op, rule, 0);
      }
    }
    for (size_t r = 0; r < op.results.size(); ++r) value(op.results[r]) = {rule.results[r], rank, zero};
    if (op.opcode == Opcode::kOptimizationBarrier) {
      for (size_t r = 0; r < op.results.size(); ++r) value(op.results[r]) = value(op.operands[r]);
    }
    if (in_parts) PinParts(op, rule);
    return rule;
  }

  // ---- Ops with pins ----

  // Returns the index of the first pinned result, or the number of results if none is pinned.
  size_t FirstPinnedResult(const Op& op) const {
    size_t r = 0;
    while (r < op.results.size() && !pins_[op.results[r].value()]) ++r;
    return r;
  }

  const OpRule& Like(const Op& op) const { return (*options_.like)[program_.value(op.results[0]).op.value()]; }

  void Pin(const Op& op, const OpRule& rule, size_t r) {
    const bool in_parts = HandlesOperandsSeparately(op);
    const std::vector<AxisState> operands = in_parts ? std::vector<AxisState>{rule.operands[r]} : rule.operands;
    pins_[op.results[r].value()] = plan::ValuePin{-1, op.results[r].value(), rule.results[r], operands};
    more_pins_ = true;
  }

  OpRule RuleOf(const Op& op, const std::vector<AxisState>& states, const plan::ValuePin& pin, size_t r) {
    std::optional<OpRule> rule = pin.operands.empty() ? RuleMaking(context_, op, states, r, pin.state)
                                                      : RuleReading(context_, op, pin.operands, r, pin.state);
    ALPA_CHECK(rule.has_value());  // CheckPins has verified this
    return *std::move(rule);
  }

  void PinParts(const Op& op, OpRule& rule) {
    for (size_t r = 0; r < op.results.size(); ++r) {
      const std::optional<plan::ValuePin>& pin = pins_[op.results[r].value()];
      if (!pin && options_.like != nullptr &&
          (rule.operands[r] != Like(op).operands[r] || rule.results[r] != Like(op).results[r])) {
        Pin(op, Like(op), r);
      }
      if (!pin) continue;
      rule.operands[r] = pin->operands.empty() ? *PartMaking(context_, op, r, pin->state) : pin->operands[0];
      rule.results[r] = pin->state;
      value(op.results[r]).state = pin->state;
      value(op.results[r]).rank = plan::CutRank::kPinned;
    }
  }

  // Chooses the rule from the split operands of the highest rank. Operands of a lower rank are converted to the states
  // that the rule needs.
  OpRule Choose(const Op& op, std::vector<AxisState> states, plan::CutRank& rank) {
    if (op.opcode != Opcode::kOptimizationBarrier) {
      for (size_t i = 0; i < states.size(); ++i) {
        if (states[i].partial()) states[i] = truths_[op.operands[i].value()].value_or(states[i]);
      }
    }
    for (size_t i = 0; i < states.size(); ++i) {
      if (states[i].split()) rank = std::max(rank, value(op.operands[i]).rank);
    }
    OpRule rule = ChooseOf(op, states, rank);
    bool sharded = false;
    for (size_t i = 0; i < states.size(); ++i) {
      if (!states[i].partial() || rule.operands[i].partial()) continue;
      // The rule needs the reduced value. If this value is split, the rule is chosen again with the operand in that
      // state.
      AxisState truth = rule.operands[i];
      if (truth.replicated()) truth = Truth(op.operands[i]);
      truths_[op.operands[i].value()] = truth;
      more_truths_ = true;
      sharded = sharded || truth != rule.operands[i];
      states[i] = truth;
    }
    if (!sharded) return rule;
    rank = plan::CutRank::kStored;
    return ChooseRule(context_, op, states);
  }

  AxisState Truth(ValueId v) const {
    const graph::Shape& shape = program_.shape(v);
    if (options_.reduce_scatter_like != nullptr) {
      const AxisState& like = (*options_.reduce_scatter_like)[v.value()].state;
      if (like.split() && like.outer == 1) return like;
    }
    if (options_.reduce_scatter_from == 0 || shape.elements() < options_.reduce_scatter_from) {
      return AxisState::Replicated();
    }
    const std::optional<int64_t> dim = StoredDim(shape.dims, options_.axis.size);
    return dim ? AxisState::Split(*dim) : AxisState::Replicated();
  }

  OpRule ChooseOf(const Op& op, std::vector<AxisState> states, plan::CutRank rank) {
    if (op.opcode == Opcode::kOptimizationBarrier) return ChooseRule(context_, op, states);
    for (size_t i = 0; i < states.size(); ++i) {
      if (states[i].split() && value(op.operands[i]).rank < rank) states[i] = AxisState::Replicated();
    }
    return ChooseRule(context_, op, states);
  }

  const Graph& program_;
  const std::vector<ValueState>& parameters_;
  const PropagateOptions options_;
  RuleContext context_;
  std::vector<std::optional<AxisState>> truths_;  // one entry per value: state of its reduced value, if needed
  bool more_truths_ = false;
  std::vector<std::optional<plan::ValuePin>> pins_;  // one entry per value
  bool more_pins_ = false;
  Propagation out_;
};

}  // namespace

RuleContext ContextOf(const Graph& program, const MeshAxis& axis, const std::vector<ValueState>& values) {
  return {&program, axis.size, [&values](ValueId v) { return values[v.value()].zero; }, true};
}

void ForgetZeroParameters(const Graph& program, std::vector<ValueState>& values) {
  for (const Op& op : program.ops()) {
    if (op.opcode == Opcode::kConstant) continue;
    const bool zero =
        !op.operands.empty() &&
        std::all_of(op.operands.begin(), op.operands.end(), [&](ValueId v) { return values[v.value()].zero; });
    for (ValueId v : op.results) values[v.value()].zero = values[v.value()].zero && zero;
  }
}

std::optional<int64_t> StoredDim(const std::vector<int64_t>& dims, int64_t n) {
  for (size_t d = 0; d < dims.size(); ++d) {
    if (CanSplit(dims, static_cast<int64_t>(d), 1, n)) return static_cast<int64_t>(d);
  }
  return std::nullopt;
}

absl::Status CheckPins(const Graph& program, const MeshAxis& axis, const std::vector<plan::ValuePin>& pins) {
  const RuleContext context{&program, axis.size, [](ValueId) { return false; }, true};
  std::vector<bool> pinned(program.size(), false);
  for (const plan::ValuePin& pin : pins) {
    ALPA_RETURN_IF_ERROR(CheckPin(context, pin));
    const graph::Value& value = program.value(ValueId(pin.value));
    const Op& op = program.op(value.op);
    if (HandlesOperandsSeparately(op)) continue;
    if (pinned[value.op.value()]) {
      return InvalidArgument("two pins name results of the same %s op; pin only one of them", graph::NameOf(op.opcode));
    }
    pinned[value.op.value()] = true;
  }
  return absl::OkStatus();
}

Propagation Propagate(const Graph& program, const std::vector<ValueState>& parameters,
                      const PropagateOptions& options) {
  return Propagator(program, parameters, options).Run();
}

}  // namespace alpa::planner
