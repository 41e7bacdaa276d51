#include "planner/partition/pad_slot.h"

#include <algorithm>
#include <vector>

#include "graph/builder.h"

namespace alpa::planner {

using graph::Graph;
using graph::GraphBuilder;
using graph::Op;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;

namespace {

Graph PadProgram(const Graph& program, const plan::RunInstruction& run, plan::SlotId slot, int64_t dim, int64_t size) {
  GraphBuilder builder;
  std::vector<ValueId> to(program.values().size());
  for (const Op& op : program.ops()) {
    if (op.opcode == Opcode::kParameter) {
      const int64_t p = op.as<graph::ParameterAttrs>().index;
      Shape shape = program.shape(op.results[0]);
      const std::vector<int64_t> real = shape.dims;
      if (run.inputs[p] == slot) shape.dims[dim] = size;
      ValueId value = builder.Parameter(shape, program.location(op));
      if (run.inputs[p] == slot) value = builder.Slice(value, std::vector<int64_t>(real.size(), 0), real);
      to[op.results[0].value()] = value;
      continue;
    }
    std::vector<ValueId> operands;
    for (ValueId v : op.operands) operands.push_back(to[v.value()]);
    const std::vector<ValueId> results = builder.Clone(program, op, std::move(operands));
    for (size_t r = 0; r < results.size(); ++r) to[op.results[r].value()] = results[r];
  }
  std::vector<ValueId> results;
  for (size_t r = 0; r < run.outputs.size(); ++r) {
    ValueId value = to[program.results()[r].value()];
    if (run.outputs[r] == slot) {
      Shape shape = builder.shape(value);
      graph::PadAttrs pad{std::vector<int64_t>(shape.rank(), 0), std::vector<int64_t>(shape.rank(), 0),
                          std::vector<int64_t>(shape.rank(), 0)};
      pad.high[dim] = size - shape.dims[dim];
      shape.dims[dim] = size;
      value = builder.AddOp(Opcode::kPad, {value, builder.Scalar(shape.dtype, 0)}, {shape}, pad)[0];
    }
    results.push_back(value);
  }
  builder.SetResults(std::move(results));
  return builder.Build();
}

void PadRuns(plan::Executable& executable, const std::vector<plan::Instruction>& instructions, plan::SlotId slot, int64_t dim,
             int64_t size) {
  for (const plan::Instruction& instruction : instructions) {
    if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) PadRuns(executable, loop->body, slot, dim, size);
    const auto* run = std::get_if<plan::RunInstruction>(&instruction.action);
    if (run == nullptr) continue;
    const bool named = std::find(run->inputs.begin(), run->inputs.end(), slot) != run->inputs.end() ||
                       std::find(run->outputs.begin(), run->outputs.end(), slot) != run->outputs.end();
    Graph& program = executable.programs[run->program].graph;
    if (named) program = PadProgram(program, *run, slot, dim, size);
  }
}

}  // namespace

void PadSlot(plan::Executable& executable, int32_t mesh, plan::SlotId slot, int64_t dim, int64_t size) {
  plan::MeshProgram& list = executable.mesh_programs[mesh];
  list.slots[slot.value()].shape.dims[dim] = size;
  PadRuns(executable, list.instructions, slot, dim, size);
}

}  // namespace alpa::planner
