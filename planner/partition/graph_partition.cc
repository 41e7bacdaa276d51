#include "planner/partition/graph_partition.h"

#include <algorithm>

#include "planner/lower/local_op.h"

namespace alpa::planner {

using graph::Graph;
using graph::GraphBuilder;
using graph::Op;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;

namespace {

class GraphPartitioner {
 public:
  GraphPartitioner(const Graph& program, const Propagation& propagation, const std::vector<AxisState>& results,
                   const MeshAxis& axis)
      : program_(program), propagation_(propagation), results_(results), axis_(axis),
        context_(ContextOf(program, axis, propagation.values)), converter_(builder_, axis),
        needs_(program.values().size()), forms_(program.values().size()) {}

  Graph Run() {
    for (size_t r = 0; r < results_.size(); ++r) Need(program_.results()[r], results_[r]);
    for (size_t i = program_.ops().size(); i-- > 0;) FindNeedsOf(i);
    for (ValueId v : program_.parameters()) {
      Shape shape = program_.shape(v);
      shape.dims = ChunkDims(shape.dims, State(v), axis_.size);
      if (State(v).partial()) shape.dtype = Widened(shape.dtype);
      Set(v, State(v), builder_.Parameter(shape, program_.location(program_.def(v))));
    }
    for (size_t i = 0; i < program_.ops().size(); ++i) EmitOp(program_.ops()[i], propagation_.rules[i]);
    std::vector<ValueId> results;
    for (size_t r = 0; r < results_.size(); ++r) results.push_back(Get(program_.results()[r], results_[r]));
    builder_.SetResults(std::move(results));
    return builder_.Build();
  }

 private:
  const AxisState& State(ValueId v) const { return propagation_.values[v.value()].state; }

  void Need(ValueId v, const AxisState& state) {
    auto& needed = needs_[v.value()];
    if (std::find(needed.begin(), needed.end(), state) == needed.end()) needed.push_back(state);
  }

  bool Needed(const Op& op) const {
    return std::any_of(op.results.begin(), op.results.end(), [&](ValueId v) { return !needs_[v.value()].empty(); });
  }

  // Returns whether readers only need slices of the op's replicated result, and the op can compute each slice from
  // slices of its operands.
  bool Sinks(const Op& op) const {
    if (op.opcode == Opcode::kParameter || op.opcode == Opcode::kOptimizationBarrier || op.results.size() != 1) {
      return false;
    }
    const ValueId v = op.results[0];
    if (!State(v).replicated() || needs_[v.value()].empty()) return false;
    return std::all_of(needs_[v.value()].begin(), needs_[v.value()].end(), [&](const AxisState& needed) {
      return needed.split() && OperandsForSlice(context_, op, needed).has_value();
    });
  }

  void FindNeedsOf(size_t index) {
    const Op& op = program_.ops()[index];
    if (op.opcode == Opcode::kParameter) return;
    if (op.opcode == Opcode::kOptimizationBarrier) {
      for (size_t k = 0; k < op.operands.size(); ++k) {
        if (!needs_[op.results[k].value()].empty()) Need(op.operands[k], State(op.results[k]));
      }
      return;
    }
    if (!Needed(op)) return;
    if (Sinks(op)) {
      for (const AxisState& slice : needs_[op.results[0].value()]) {
        const std::vector<AxisState> wanted = *OperandsForSlice(context_, op, slice);
        for (size_t k = 0; k < wanted.size(); ++k) Need(op.operands[k], wanted[k]);
      }
      return;
    }
    // If readers need a result in other states, the result is converted from the state in which the op produces it.
    for (ValueId v : op.results) Need(v, State(v));
    for (size_t k = 0; k < op.operands.size(); ++k) Need(op.operands[k], propagation_.rules[index].operands[k]);
  }

  void EmitOp(const Op& op, const OpRule& rule) {
    if (op.opcode == Opcode::kParameter) return;
    if (op.opcode == Opcode::kOptimizationBarrier) {
      for (size_t k = 0; k < op.operands.size(); ++k) {
        if (needs_[op.results[k].value()].empty()) continue;
        const ValueId local = Get(op.operands[k], State(op.results[k]));
        Set(op.results[k], State(op.results[k]),
            builder_.AddOp(Opcode::kOptimizationBarrier, {local}, {builder_.shape(local)}, {}, {},
                           program_.location(op))[0]);
      }
      return;
    }
    if (Sinks(op)) {
      for (const AxisState& slice : needs_[op.results[0].value()]) {
        Set(op.results[0], slice, Emit(op, *OperandsForSlice(context_, op, slice), {slice})[0]);
      }
    } else if (Needed(op)) {
      const std::vector<ValueId> locals = Emit(op, rule.operands, rule.results);
      for (size_t r = 0; r < locals.size(); ++r) Set(op.results[r], rule.results[r], locals[r]);
    }
  }

  std::vector<ValueId> Emit(const Op& op, const std::vector<AxisState>& wanted, const std::vector<AxisState>& made) {
    std::vector<ValueId> operands;
    for (size_t k = 0; k < wanted.size(); ++k) operands.push_back(Get(op.operands[k], wanted[k]));
    return EmitLocalOp(builder_, program_, op, operands, wanted, made, axis_.size,
                       [&] { return converter_.Coordinate(); });
  }

  void Set(ValueId v, const AxisState& state, ValueId local) { forms_[v.value()].push_back({state, local}); }

  ValueId Get(ValueId v, const AxisState& state) {
    for (const auto& [known, local] : forms_[v.value()]) {
      if (known == state) return local;
    }
    const AxisState whole = AxisState::Replicated();
    const bool has_own = std::any_of(forms_[v.value()].begin(), forms_[v.value()].end(),
                                     [&](const auto& form) { return form.first == State(v); });
    if (has_own && !state.replicated() && ReplicatedFirst(State(v), needs_[v.value()], axis_.size)) Get(v, whole);
    // Convert from the replicated form if it exists. Otherwise prefer a split form to a partial one.
    const AxisState* from = nullptr;
    ValueId local;
    for (const auto& [known, candidate] : forms_[v.value()]) {
      const bool better = from == nullptr || from->partial() || (from->split() && known.replicated());
      if (better) from = &known, local = candidate;
    }
    if (state.partial() && propagation_.values[v.value()].zero && from->replicated()) return local;
    const ValueId converted = converter_.Convert(local, program_.shape(v), *from, state);
    Set(v, state, converted);
    return converted;
  }

  const Graph& program_;
  const Propagation& propagation_;
  const std::vector<AxisState>& results_;
  const MeshAxis axis_;
  GraphBuilder builder_;
  const RuleContext context_;
  Converter converter_;
  std::vector<std::vector<AxisState>> needs_;                       // one entry per value
  std::vector<std::vector<std::pair<AxisState, ValueId>>> forms_;   // one entry per value: the forms written so far
};

}  // namespace

Graph PartitionGraph(const Graph& program, const Propagation& propagation, const std::vector<AxisState>& results,
                     const MeshAxis& axis) {
  return GraphPartitioner(program, propagation, results, axis).Run();
}

}  // namespace alpa::planner
