#include "planner/stage/runs.h"

#include <algorithm>

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using plan::Slot;

std::vector<ProgramRun> RunsOf(const plan::Executable& executable) {
  std::vector<ProgramRun> runs;
  for (const plan::Instruction& instruction : executable.mesh_programs[0].instructions) {
    if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) runs.push_back({*run, false});
    const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action);
    if (loop == nullptr) continue;
    for (const plan::Instruction& inner : loop->body) {
      if (const auto* run = std::get_if<plan::RunInstruction>(&inner.action)) runs.push_back({*run, true});
    }
  }
  return runs;
}

ValueId AddedTo(const Graph& program, const plan::RunInstruction& run, size_t r) {
  const Op& op = program.def(program.results()[r]);
  if (op.opcode != Opcode::kAdd) return {};
  for (int side : {0, 1}) {
    const Op& def = program.def(op.operands[side]);
    if (def.opcode != Opcode::kParameter) continue;
    if (run.inputs[def.as<graph::ParameterAttrs>().index] == run.outputs[r]) return op.operands[1 - side];
  }
  return {};
}

std::vector<bool> RecomputedEverywhere(const plan::Executable& executable, const ProgramRun& run) {
  const Graph& program = executable.programs[run.run.program].graph;
  const std::vector<Slot>& slots = executable.mesh_programs[0].slots;
  std::vector<bool> recomputed(program.values().size(), false), batch_leaf(program.values().size(), false);
  for (const Op& op : program.ops()) {
    const bool all =
        std::all_of(op.operands.begin(), op.operands.end(), [&](ValueId v) { return recomputed[v.value()]; });
    bool is = false;
    switch (op.opcode) {
      case Opcode::kParameter: {
        const plan::SlotId slot = run.run.inputs[op.as<graph::ParameterAttrs>().index];
        is = !slot.valid();
        batch_leaf[op.results[0].value()] = slot.valid() && slots[slot.value()].kind == Slot::Kind::kInput;
        break;
      }
      case Opcode::kConstant: case Opcode::kIota: is = true; break;
      case Opcode::kBroadcast: case Opcode::kReshape: case Opcode::kTranspose: case Opcode::kSlice:
      case Opcode::kConvert: case Opcode::kCopy:
        is = all;
        break;
      case Opcode::kDynamicSlice:
        is = batch_leaf[op.operands[0].value()] &&
             std::all_of(op.operands.begin() + 1, op.operands.end(), [&](ValueId v) { return recomputed[v.value()]; });
        break;
      default:
        is = all && graph::IsElementwise(op.opcode);
    }
    for (ValueId v : op.results) recomputed[v.value()] = is;
  }
  return recomputed;
}

std::vector<uint8_t> Origins(const plan::Executable& executable, const ProgramRun& run, std::vector<uint8_t>& slots) {
  const Graph& program = executable.programs[run.run.program].graph;
  const std::vector<Slot>& kinds = executable.mesh_programs[0].slots;
  if (slots.empty()) {
    for (const Slot& slot : kinds) {
      slots.push_back(slot.kind == Slot::Kind::kState ? kFromState : slot.kind == Slot::Kind::kInput ? kFromBatch : 0);
    }
  }
  std::vector<uint8_t> origins(program.values().size(), 0);
  for (const Op& op : program.ops()) {
    uint8_t bits = 0;
    if (op.opcode == Opcode::kParameter) {
      const plan::SlotId slot = run.run.inputs[op.as<graph::ParameterAttrs>().index];
      bits = slot.valid() ? slots[slot.value()] : kFromBatch;
    }
    for (ValueId v : op.operands) bits |= origins[v.value()];
    for (ValueId v : op.results) origins[v.value()] = bits;
  }
  for (size_t r = 0; r < run.run.outputs.size(); ++r) {
    if (kinds[run.run.outputs[r].value()].kind != Slot::Kind::kState) {
      slots[run.run.outputs[r].value()] |= origins[program.results()[r].value()];
    }
  }
  return origins;
}

}  // namespace alpa::planner
