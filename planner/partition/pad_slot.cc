#include "planner/partition/pad_slot.h"

#include <algorithm>
#include <vector>

#include "graph/builder.h"

namespace alpa::planner {

using graph::Graph;
using graph::GraphBuilder;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;

namespace {

Graph PadProgram(const Graph& program, const plan::RunInstruction& run, plan::SlotId slot, int64_t dim, int64_t size) {
  GraphBuilder builder;
  std::vector<ValueId> arguments;
  for (size_t p = 0; p < run.inputs.size(); ++p) {
    Shape shape = program.shape(program.parameters()[p]);
    const std::vector<int64_t> real = shape.dims;
    if (run.inputs[p] == slot) shape.dims[dim] = size;
    ValueId value = builder.Parameter(std::move(shape));
    if (run.inputs[p] == slot) value = builder.Slice(value, std::vector<int64_t>(real.size(), 0), real);
    arguments.push_back(value);
  }
  std::vector<ValueId> results = builder.Inline(program, arguments);
  for (size_t r = 0; r < results.size(); ++r) {
    if (run.outputs[r] != slot) continue;
    Shape shape = builder.shape(results[r]);
    graph::PadAttrs pad{std::vector<int64_t>(shape.rank(), 0), std::vector<int64_t>(shape.rank(), 0),
                        std::vector<int64_t>(shape.rank(), 0)};
    pad.high[dim] = size - shape.dims[dim];
    shape.dims[dim] = size;
    results[r] = builder.AddOp(Opcode::kPad, {results[r], builder.Scalar(shape.dtype, 0)}, {shape}, pad)[0];
  }
  builder.SetResults(std::move(results));
  return builder.Build();
}

void PadRuns(plan::Executable& executable, const std::vector<plan::Instruction>& instructions, plan::SlotId slot,
             int64_t dim, int64_t size) {
  for (const plan::Instruction& instruction : instructions) {
    if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
      PadRuns(executable, loop->body, slot, dim, size);
    }
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
