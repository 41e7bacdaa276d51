#include "planner/stage/linear_sums.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include "graph/builder.h"
#include "planner/stage/runs.h"

namespace alpa::planner {

using graph::Graph;
using graph::GraphBuilder;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using plan::Executable;
using plan::Instruction;
using plan::Slot;
using plan::SlotId;

namespace {

bool IsZero(const Graph& program, ValueId v) {
  const Op* op = &program.def(v);
  while (op->opcode == Opcode::kBroadcast || op->opcode == Opcode::kReshape || op->opcode == Opcode::kConvert) {
    op = &program.def(op->operands[0]);
  }
  return op->opcode == Opcode::kConstant && op->as<graph::ConstantAttrs>().literal.AllEqual(0);
}

// Returns the operands that a linear op combines. Returns an empty list if the op is not linear. A dynamic-update-slice
// is only linear if its indices are constants.
std::vector<ValueId> Summands(const Graph& program, const Op& op) {
  switch (op.opcode) {
    case Opcode::kAdd: case Opcode::kConcatenate: case Opcode::kNegate: case Opcode::kTranspose: case Opcode::kReshape:
    case Opcode::kCopy:
      return op.operands;
    case Opcode::kPad:
      if (!IsZero(program, op.operands[1])) return {};
      return {op.operands[0]};
    case Opcode::kDynamicUpdateSlice:
      for (size_t i = 2; i < op.operands.size(); ++i) {
        if (program.def(op.operands[i]).opcode != Opcode::kConstant) return {};
      }
      return {op.operands[0], op.operands[1]};
    default: return {};
  }
}

void AddParts(const Graph& program, ValueId v, std::set<ValueId>& seen, std::vector<ValueId>& parts) {
  std::vector<ValueId> next = {v};
  while (!next.empty()) {
    const ValueId at = next.back();
    next.pop_back();
    if (!seen.insert(at).second || IsZero(program, at)) continue;
    const std::vector<ValueId> summands = Summands(program, program.def(at));
    if (summands.empty()) parts.push_back(at);
    next.insert(next.end(), summands.rbegin(), summands.rend());
  }
}

class SumSplitter {
 public:
  SumSplitter(Executable& executable, Labels& labels) : executable_(executable), labels_(labels) {}

  void Run() {
    while (SplitOne()) {
    }
  }

 private:
  bool SplitOne() {
    for (const ProgramRun& run : RunsOf(executable_)) {
      if (!run.in_loop) continue;
      const Graph& program = executable_.programs[run.run.program].graph;
      for (size_t r = 0; r < run.run.outputs.size(); ++r) {
        const SlotId slot = run.run.outputs[r];
        if (executable_.mesh_programs[0].slots[slot.value()].kind != Slot::Kind::kTemporary) continue;
        const ValueId sum = AddedTo(program, run.run, r);
        if (!sum.valid() || std::popcount(StagesOf(run.run.program, sum)) < 2) continue;
        Split(run.run.program, slot, sum);
        return true;
      }
    }
    return false;
  }

  // Returns the stages of the parts (linear_sums.h) of `v`, one bit per stage. If all operands of a linear op come from
  // one stage, moves the op to this stage.
  uint64_t StagesOf(int32_t program, ValueId v) {
    const Graph& graph = executable_.programs[program].graph;
    if (const auto known = stages_.find({program, v}); known != stages_.end()) return known->second;
    std::set<int> ops;  // ops, ordered so that operands come first
    std::vector<ValueId> next = {v};
    while (!next.empty()) {
      const ValueId at = next.back();
      next.pop_back();
      if (stages_.contains({program, at})) continue;
      const Op& op = graph.def(at);
      if (IsZero(graph, at)) {
        stages_[{program, at}] = 0;
      } else if (ops.insert(graph.value(at).op.value()).second) {
        const std::vector<ValueId> summands = Summands(graph, op);
        next.insert(next.end(), summands.begin(), summands.end());
      }
    }
    for (int index : ops) {
      const Op& op = graph.ops()[index];
      uint64_t stages = 0;
      for (ValueId summand : Summands(graph, op)) stages |= stages_.at({program, summand});
      int& own = labels_.op_stage[program][index];
      if (std::popcount(stages) == 1) own = std::countr_zero(stages);
      if (stages == 0) stages = uint64_t{1} << own;
      for (ValueId result : op.results) stages_[{program, result}] = stages;
    }
    return stages_.at({program, v});
  }

  void Split(int32_t program, SlotId slot, ValueId sum) {
    // The parts of the sum, and the values between the parts and the sum. Operands come first.
    std::vector<ValueId> parts, between;
    Collect(program, sum, parts, between);
    std::vector<SlotId> slots;
    for (ValueId part : parts) slots.push_back(AddSlot(program, part));
    const Graph source = executable_.programs[program].graph;
    Replace(executable_.mesh_programs[0].instructions, program, slot, slots, [&](plan::RunInstruction& run) {
      if (run.program == program) Accumulate(run, slot, parts, slots);
      else Assemble(run, slot, source, parts, between, slots);
    });
  }

  void Collect(int32_t program, ValueId sum, std::vector<ValueId>& parts, std::vector<ValueId>& between) {
    const Graph& graph = executable_.programs[program].graph;
    std::set<ValueId> seen;
    std::vector<ValueId> next = {sum};
    while (!next.empty()) {
      const ValueId v = next.back();
      next.pop_back();
      if (!seen.insert(v).second || IsZero(graph, v)) continue;
      const bool mixed = std::popcount(StagesOf(program, v)) > 1;
      (mixed ? between : parts).push_back(v);
      if (!mixed) continue;
      const std::vector<ValueId> summands = Summands(graph, graph.def(v));
      next.insert(next.end(), summands.begin(), summands.end());
    }
    std::sort(parts.begin(), parts.end());
    std::sort(between.begin(), between.end());
  }

  SlotId AddSlot(int32_t program, ValueId part) {
    std::vector<Slot>& slots = executable_.mesh_programs[0].slots;
    const Graph& graph = executable_.programs[program].graph;
    slots.push_back({Slot::Kind::kTemporary, graph.shape(part), -1, 0});
    labels_.slot_stage.push_back(labels_.op_stage[program][graph.value(part).op.value()]);
    return SlotId(static_cast<int32_t>(slots.size()) - 1);
  }

  // Replaces the ALLOC and FREE of `slot` by an ALLOC and FREE of each slot in `slots`. Calls `rewrite` for each RUN
  // that reads `slot`.
  template <typename Rewrite>
  void Replace(std::vector<Instruction>& instructions, int32_t program, SlotId slot, const std::vector<SlotId>& slots,
               const Rewrite& rewrite) {
    std::vector<Instruction> out;
    for (Instruction& instruction : instructions) {
      const auto* alloc = std::get_if<plan::AllocInstruction>(&instruction.action);
      const auto* free = std::get_if<plan::FreeInstruction>(&instruction.action);
      if ((alloc != nullptr && alloc->slot == slot) || (free != nullptr && free->slot == slot)) {
        for (SlotId each : slots) {
          if (alloc != nullptr) out.push_back({plan::AllocInstruction{each, 0}});
          else out.push_back({plan::FreeInstruction{each}});
        }
        continue;
      }
      if (auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
        if (std::find(run->inputs.begin(), run->inputs.end(), slot) != run->inputs.end()) rewrite(*run);
      } else if (auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
        Replace(loop->body, program, slot, slots, rewrite);
      }
      out.push_back(std::move(instruction));
    }
    instructions = std::move(out);
  }

  // Copies the ops of `graph` in order, so they keep their numbers. Returns one entry per value of `graph`: its copy.
  static std::vector<ValueId> Copy(const Graph& graph, GraphBuilder& builder) {
    std::vector<ValueId> to(graph.values().size());
    for (const Op& op : graph.ops()) {
      if (op.opcode == Opcode::kParameter) {
        to[op.results[0].value()] = builder.Parameter(graph.shape(op.results[0]), graph.location(op));
        continue;
      }
      std::vector<ValueId> operands;
      for (ValueId v : op.operands) operands.push_back(to[v.value()]);
      const std::vector<ValueId> results = builder.Clone(graph, op, operands);
      for (size_t r = 0; r < results.size(); ++r) to[op.results[r].value()] = results[r];
    }
    return to;
  }

  void Accumulate(plan::RunInstruction& run, SlotId slot, const std::vector<ValueId>& parts,
                  const std::vector<SlotId>& slots) {
    plan::StageProgram& program = executable_.programs[run.program];
    GraphBuilder builder;
    const std::vector<ValueId> to = Copy(program.graph, builder);
    std::vector<ValueId> results;
    std::vector<SlotId> outputs;
    for (size_t r = 0; r < run.outputs.size(); ++r) {
      if (run.outputs[r] == slot) continue;
      results.push_back(to[program.graph.results()[r].value()]);
      outputs.push_back(run.outputs[r]);
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      const int stage = labels_.slot_stage[slots[i].value()];
      const bool backward = labels_.backward[run.program][program.graph.value(parts[i]).op.value()];
      const ValueId mine = to[parts[i].value()];
      results.push_back(builder.Binary(Opcode::kAdd, builder.Parameter(builder.shape(mine)), mine));
      for (int added = 0; added < 2; ++added) {
        labels_.op_stage[run.program].push_back(stage);
        labels_.backward[run.program].push_back(backward);
        labels_.layer[run.program].push_back(-1);
      }
      run.inputs.push_back(slots[i]);
      outputs.push_back(slots[i]);
    }
    builder.SetResults(std::move(results));
    run.outputs = std::move(outputs);
    program.graph = builder.Build();
  }

  void Assemble(plan::RunInstruction& run, SlotId slot, const Graph& source, const std::vector<ValueId>& parts,
                const std::vector<ValueId>& between, const std::vector<SlotId>& slots) {
    plan::StageProgram& program = executable_.programs[run.program];
    const Graph& graph = program.graph;
    GraphBuilder builder;
    std::vector<ValueId> arguments;
    std::vector<SlotId> inputs;
    for (size_t p = 0; p < run.inputs.size(); ++p) {
      arguments.emplace_back();
      if (run.inputs[p] == slot) continue;
      arguments[p] = builder.Parameter(graph.shape(graph.parameters()[p]));
      inputs.push_back(run.inputs[p]);
    }
    std::map<ValueId, ValueId> here;  // key: value of the loop's program; value: its copy
    for (size_t i = 0; i < parts.size(); ++i) {
      here[parts[i]] = builder.Parameter(source.shape(parts[i]));
      inputs.push_back(slots[i]);
    }
    ValueId sum;
    for (ValueId v : between) {
      sum = here[v] = builder.Clone(source, source.def(v), OperandsHere(source, source.def(v), here, builder))[0];
    }
    for (ValueId& argument : arguments) {
      if (!argument.valid()) argument = sum;
    }
    builder.SetResults(builder.Inline(graph, arguments));
    run.inputs = std::move(inputs);
    program.graph = builder.Build();
  }

  // Returns the operands of `op` in the new program. `here` holds the parts, and the values between the parts and the
  // sum. All other operands are zeros and constant indices, which are recomputed.
  static std::vector<ValueId> OperandsHere(const Graph& source, const Op& op, std::map<ValueId, ValueId>& here,
                                           GraphBuilder& builder) {
    std::vector<ValueId> operands;
    for (ValueId v : op.operands) {
      auto found = here.find(v);
      if (found == here.end()) {
        const Op& def = source.def(v);
        found = here.emplace(v, builder.Clone(source, def, OperandsHere(source, def, here, builder))[0]).first;
      }
      operands.push_back(found->second);
    }
    return operands;
  }

  Executable& executable_;
  Labels& labels_;
  std::map<std::pair<int32_t, ValueId>, uint64_t> stages_;
};

}  // namespace

std::vector<ValueId> LinearParts(const Graph& program, ValueId value) {
  std::set<ValueId> seen;
  std::vector<ValueId> parts;
  AddParts(program, value, seen, parts);
  return parts;
}

void SplitSums(Executable& executable, Labels& labels) { SumSplitter(executable, labels).Run(); }

}  // namespace alpa::planner
