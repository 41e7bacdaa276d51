#include <algorithm>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "plan/executable.h"
#include "plan/plan.h"

namespace alpa::plan {
namespace {

constexpr size_t kMostPins = 16;  // maximum number of pins that are printed per axis; the others are only counted

std::string Slots(const std::vector<SlotId>& slots) {
  return absl::StrJoin(slots, " ", [](std::string* out, SlotId s) {
    absl::StrAppend(out, s.valid() ? absl::StrCat("s", s.value()) : "loop-index");
  });
}

void PrintInstructions(const std::vector<Instruction>& list, const Executable& executable, int indent,
                       std::string* out) {
  const std::string margin(indent, ' ');
  for (const Instruction& instruction : list) {
    if (const auto* run = std::get_if<RunInstruction>(&instruction.action)) {
      absl::StrAppendFormat(out, "%sRUN \"%s\"%s (%s) -> %s\n", margin, executable.programs[run->program].name,
                            run->index < 0 ? "" : absl::StrCat(" #", run->index), Slots(run->inputs),
                            Slots(run->outputs));
    } else if (const auto* send = std::get_if<SendInstruction>(&instruction.action)) {
      const Edge& edge = executable.edges[send->edge];
      absl::StrAppendFormat(out, "%sSEND s%d over edge %d (%s to mesh %d)\n", margin, send->slot.value(), send->edge,
                            edge.shape.ToString(), edge.to_mesh.value());
    } else if (const auto* recv = std::get_if<RecvInstruction>(&instruction.action)) {
      const Edge& edge = executable.edges[recv->edge];
      absl::StrAppendFormat(out, "%sRECV s%d over edge %d (%s from mesh %d)\n", margin, recv->slot.value(), recv->edge,
                            edge.shape.ToString(), edge.from_mesh.value());
    } else if (const auto* broadcast = std::get_if<BroadcastInstruction>(&instruction.action)) {
      absl::StrAppendFormat(out, "%sBROADCAST s%d from %d\n", margin, broadcast->slot.value(),
                            broadcast->root_position);
    } else if (const auto* collective = std::get_if<CollectiveInstruction>(&instruction.action)) {
      absl::StrAppendFormat(out, "%sCOLLECTIVE %s %s\n", margin, std::string(graph::NameOf(collective->kind)),
                            Slots(collective->slots));
    } else if (const auto* alloc = std::get_if<AllocInstruction>(&instruction.action)) {
      absl::StrAppendFormat(out, "%sALLOC s%d = %g\n", margin, alloc->slot.value(), alloc->fill);
    } else if (const auto* free = std::get_if<FreeInstruction>(&instruction.action)) {
      absl::StrAppendFormat(out, "%sFREE s%d\n", margin, free->slot.value());
    } else if (const auto* loop = std::get_if<LoopInstruction>(&instruction.action)) {
      absl::StrAppendFormat(out, "%sLOOP %d\n", margin, loop->count);
      PrintInstructions(loop->body, executable, indent + 2, out);
    }
  }
}

void PrintState(const StagePlan& stage, const cluster::Mesh& mesh, const graph::Graph& program, const Roles& roles,
                std::string* out) {
  Bytes mine = 0, whole = 0;
  int leaves = 0;
  for (size_t p = 0; p < roles.inputs.size(); ++p) {
    if (roles.inputs[p].kind != InputRole::Kind::kState || !stage.input_shardings[p]) continue;
    graph::Shape shape = program.shape(program.parameters()[p]);
    whole += shape.bytes();
    shape.dims = TileDims(shape.dims, *stage.input_shardings[p], mesh);
    mine += shape.bytes();
    ++leaves;
  }
  absl::StrAppendFormat(out, "    state: %d leaves, %s%s on each device\n", leaves, BytesText(mine),
                        mine == whole ? "" : absl::StrCat(" of ", BytesText(whole)));
}

void PrintAxis(const AxisCut& axis, const cluster::Mesh& mesh, const graph::Graph& program, const Roles& roles,
               std::string* out) {
  absl::StrAppendFormat(out, "    axis \"%s\" of %d:", mesh.axis_names[axis.mesh_axis], mesh.shape[axis.mesh_axis]);
  if (axis.reduce_scatter_from > 0) {
    absl::StrAppendFormat(out, " partial sums of at least %d elements are reduce-scattered%s;",
                          axis.reduce_scatter_from, axis.shard_accumulators ? " in each microbatch" : "");
  }
  if (!axis.reduce_scatter_along.empty())
    absl::StrAppend(out, " other partial sums are reduce-scattered along the sequence;");
  const int64_t pinned = std::count_if(axis.cuts.begin(), axis.cuts.end(), [](const Cut& cut) { return cut.dim >= 0; });
  absl::StrAppendFormat(out, " cut leaves: %d", pinned);
  if (!axis.pins.empty()) absl::StrAppendFormat(out, ", pinned values: %d", axis.pins.size());
  absl::StrAppend(out, "\n");
  for (const Cut& cut : axis.cuts) {
    if (cut.dim < 0) continue;
    absl::StrAppendFormat(out, "      %s %s along dimension %d\n", roles.inputs[cut.leaf].path,
                          program.shape(program.parameters()[cut.leaf]).ToString(), cut.dim);
  }
  for (size_t i = 0; i < axis.pins.size() && i < kMostPins; ++i) {
    const ValuePin& pin = axis.pins[i];
    absl::StrAppendFormat(out, "      program %d, value %d: %s\n", pin.program, pin.value, pin.state.ToString());
  }
  if (axis.pins.size() > kMostPins) absl::StrAppendFormat(out, "      and %d more\n", axis.pins.size() - kMostPins);
}

std::string FirstLine(const Plan& plan) {
  return absl::StrFormat("plan %016x: %d stage%s%s, %d microbatch%s (%s)\n", plan.program_fingerprint,
                         plan.stages.size(), plan.stages.size() == 1 ? "" : "s",
                         plan.stages.size() == 1 ? "" : absl::StrCat(" under ", plan.schedule), plan.microbatches,
                         plan.microbatches == 1 ? "" : "es", plan.origin);
}

std::string StageLine(const Plan& plan, size_t s) {
  const cluster::Mesh& mesh = plan.meshes[plan.stages[s].mesh.value()];
  std::vector<std::string> axes;
  for (size_t a = 0; a < mesh.shape.size(); ++a) axes.push_back(absl::StrCat(mesh.axis_names[a], "=", mesh.shape[a]));
  return absl::StrFormat("  stage %d on mesh [%s], devices %s\n", s, absl::StrJoin(axes, ", "),
                         absl::StrJoin(mesh.devices, " ",
                                       [](std::string* to, DeviceId d) { absl::StrAppend(to, d.value()); }));
}

std::string LastLines(const Plan& plan) {
  std::string out;
  if (plan.statistics == Statistics::kLocal) {
    absl::StrAppend(&out, "  each microbatch uses its own statistics (declared local)\n");
  }
  if (plan.predicted.step_seconds > 0) {
    absl::StrAppendFormat(&out, "  predicted: %.4g s per step, at most %s per device\n", plan.predicted.step_seconds,
                          BytesText(plan.predicted.peak_device_memory));
  }
  return out;
}

}  // namespace

std::string Print(const Plan& plan) {
  std::string out = FirstLine(plan);
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    const StagePlan& stage = plan.stages[s];
    if (!stage.mesh.valid() || stage.mesh.value() >= static_cast<int32_t>(plan.meshes.size())) {
      absl::StrAppendFormat(&out, "  stage %d on mesh %d, which does not exist\n", s, stage.mesh.value());
      continue;
    }
    const cluster::Mesh& mesh = plan.meshes[stage.mesh.value()];
    if (const absl::Status sound = Check(mesh); !sound.ok()) {
      absl::StrAppendFormat(&out, "  stage %d: %s\n", s, sound.message());
      continue;
    }
    absl::StrAppend(&out, StageLine(plan, s));
    const auto leaves = std::count_if(stage.input_shardings.begin(), stage.input_shardings.end(),
                                      [](const std::optional<Sharding>& sharding) { return sharding.has_value(); });
    absl::StrAppendFormat(&out, "    %d of %d inputs are placed on this mesh\n", leaves, stage.input_shardings.size());
  }
  for (const Seed& seed : plan.batch_seeds) {
    absl::StrAppendFormat(&out, "  batch: input %d is split along dimension %d\n", seed.leaf, seed.dim);
  }
  absl::StrAppend(&out, LastLines(plan));
  return out;
}

std::string Print(const Plan& plan, const graph::Graph& program, const Roles& roles) {
  std::string out = FirstLine(plan);
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    const StagePlan& stage = plan.stages[s];
    const cluster::Mesh& mesh = plan.meshes[stage.mesh.value()];
    absl::StrAppend(&out, StageLine(plan, s));
    // Only the first stage of a mesh prints the state and the axes.
    const auto same = [&](const StagePlan& other) { return other.mesh == stage.mesh; };
    if (std::find_if(plan.stages.begin(), plan.stages.end(), same) - plan.stages.begin() < static_cast<int64_t>(s))
      continue;
    PrintState(stage, mesh, program, roles, &out);
    for (const AxisCut& axis : stage.axes) PrintAxis(axis, mesh, program, roles, &out);
  }
  for (const Seed& seed : plan.batch_seeds) {
    const graph::Shape& shape = program.shape(program.parameters()[seed.leaf]);
    absl::StrAppendFormat(&out, "  batch: %s %s is split along dimension %d\n", roles.inputs[seed.leaf].path,
                          shape.ToString(), seed.dim);
  }
  if (plan.remat == Remat::kLayer) absl::StrAppend(&out, "  remat: the backward recomputes each layer\n");
  absl::StrAppend(&out, LastLines(plan));
  return out;
}

std::string Print(const Executable& executable) {
  std::string out;
  for (size_t p = 0; p < executable.programs.size(); ++p) {
    const StageProgram& program = executable.programs[p];
    const int64_t collectives =
        std::count_if(program.graph.ops().begin(), program.graph.ops().end(),
                      [](const graph::Op& op) { return graph::IsCollective(op.opcode); });
    absl::StrAppendFormat(&out, "program %d \"%s\": %d ops, %d collectives, %d inputs, %d outputs\n", p, program.name,
                          program.graph.size(), collectives, program.graph.parameters().size(),
                          program.graph.results().size());
  }
  for (size_t e = 0; e < executable.edges.size(); ++e) {
    const Edge& edge = executable.edges[e];
    absl::StrAppendFormat(&out, "edge %d: %s from mesh %d %s to mesh %d %s\n", e, edge.shape.ToString(),
                          edge.from_mesh.value(), edge.from.ToString(executable.meshes[edge.from_mesh.value()]),
                          edge.to_mesh.value(), edge.to.ToString(executable.meshes[edge.to_mesh.value()]));
  }
  for (size_t m = 0; m < executable.mesh_programs.size(); ++m) {
    absl::StrAppendFormat(&out, "mesh %d (%d devices):\n", m, executable.meshes[m].size());
    PrintInstructions(executable.mesh_programs[m].instructions, executable, 2, &out);
  }
  return out;
}

}  // namespace alpa::plan
