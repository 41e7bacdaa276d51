#include "planner/partition/propagate.h"

#include <algorithm>

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;

namespace {

constexpr int kMaxPasses = 4;

bool KeepsZero(const Op& op) {
  switch (op.opcode) {
    case Opcode::kBroadcast: case Opcode::kReshape: case Opcode::kTranspose: case Opcode::kConvert: case Opcode::kCopy:
    case Opcode::kSlice: case Opcode::kReverse: case Opcode::kConcatenate: case Opcode::kAllReduce: case Opcode::kAllGather:
      return true;
    default: return false;
  }
}

class Propagator {
 public:
  Propagator(const Graph& program, const std::vector<ValueState>& parameters, const PropagateOptions& options)
      : program_(program), parameters_(parameters), options_(options) {
    out_.values.resize(program.values().size());
    context_ = ContextOf(program, options.axis, out_.values);
  }

  // Twice or thrice: what one op needs the truth of, all others take the truth of, rather than carry the partial on to a
  // reduction of their own.
  Propagation Run() {
    truths_.resize(program_.values().size());
    for (int pass = 0; pass < kMaxPasses; ++pass) {
      more_truths_ = false;
      out_.rules.clear();
      for (const Op& op : program_.ops()) out_.rules.push_back(Decide(op));
      if (!more_truths_) break;
    }
    return std::move(out_);
  }

 private:
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
    OpRule rule = Choose(op, states, rank);
    for (size_t r = 0; r < op.results.size(); ++r) value(op.results[r]) = {rule.results[r], rank, zero};
    if (op.opcode == Opcode::kOptimizationBarrier) {
      for (size_t r = 0; r < op.results.size(); ++r) value(op.results[r]) = value(op.operands[r]);
    }
    return rule;
  }

  // Operands of less than the highest rank present do not lead; they are converted to what the others want.
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
      // Its truth is taken. Where it is to be split, see what follows from that.
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
    if (options_.truths_like != nullptr) {
      const AxisState& like = (*options_.truths_like)[v.value()].state;
      if (like.split() && like.outer == 1) return like;
    }
    if (options_.shard_truths_from == 0 || shape.elements() < options_.shard_truths_from) return AxisState::Replicated();
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
  std::vector<std::optional<AxisState>> truths_;  // by value: the state in which the truth of a partial is taken
  bool more_truths_ = false;
  Propagation out_;
};

}  // namespace

RuleContext ContextOf(const Graph& program, const MeshAxis& axis, const std::vector<ValueState>& values) {
  return {&program, axis.size, [&values](ValueId v) { return values[v.value()].zero; }, true};
}

std::optional<int64_t> StoredDim(const std::vector<int64_t>& dims, int64_t n) {
  for (size_t d = 0; d < dims.size(); ++d) {
    if (CanSplit(dims, static_cast<int64_t>(d), 1, n)) return static_cast<int64_t>(d);
  }
  return std::nullopt;
}

Propagation Propagate(const Graph& program, const std::vector<ValueState>& parameters, const PropagateOptions& options) {
  return Propagator(program, parameters, options).Run();
}

}  // namespace alpa::planner
