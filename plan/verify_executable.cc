#include <algorithm>
#include <map>
#include <set>

#include "base/status.h"
#include "graph/verify.h"
#include "plan/executable.h"
#include "plan/verify_progress.h"

namespace alpa::plan {

using graph::Op;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;

namespace {

const Shape kLoopIndexShape{graph::DType::kS32, {}};
// The maximum number of rounds of a loop. This limit also bounds the index of a RUN outside of loops.
constexpr int64_t kMaxRounds = int64_t{1} << 20;
// The maximum number of pairs of a source device and a destination device, over all edges. This limit bounds the time
// to derive the transfers.
constexpr int64_t kMaxPairs = 10'000'000;

absl::Status VerifyProgram(const Executable& executable, const StageProgram& program) {
  if (!program.mesh.valid() || program.mesh.value() >= static_cast<int32_t>(executable.meshes.size())) {
    return InvalidArgument("it names mesh %d; there are %d meshes", program.mesh.value(), executable.meshes.size());
  }
  graph::VerifyOptions options;
  options.allow_collectives = true;
  options.mesh_shape = executable.meshes[program.mesh.value()].shape;
  ALPA_RETURN_IF_ERROR(graph::Verify(program.graph, options));
  if (program.alias.size() != program.graph.results().size()) {
    return InvalidArgument("it has %d results but %d alias entries", program.graph.results().size(),
                           program.alias.size());
  }
  std::set<int32_t> aliased;
  for (size_t r = 0; r < program.alias.size(); ++r) {
    const int32_t parameter = program.alias[r];
    if (parameter == -1) continue;
    if (parameter < 0 || parameter >= static_cast<int32_t>(program.graph.parameters().size())) {
      return InvalidArgument("result %d aliases parameter %d; there are %d parameters", r, parameter,
                             program.graph.parameters().size());
    }
    if (!aliased.insert(parameter).second) return InvalidArgument("two results alias parameter %d", parameter);
    const Shape& from = program.graph.shape(program.graph.parameters()[parameter]);
    const Shape& to = program.graph.shape(program.graph.results()[r]);
    if (from != to) {
      return InvalidArgument("result %d (%s) aliases parameter %d (%s)", r, to.ToString(), parameter, from.ToString());
    }
  }
  return absl::OkStatus();
}

absl::Status VerifyEdge(const Executable& executable, const Edge& edge) {
  const auto exists = [&](MeshId mesh) {
    return mesh.valid() && mesh.value() < static_cast<int32_t>(executable.meshes.size());
  };
  for (MeshId mesh : {edge.from_mesh, edge.to_mesh}) {
    if (!exists(mesh))
      return InvalidArgument("it names mesh %d; there are %d meshes", mesh.value(), executable.meshes.size());
  }
  if (edge.from_mesh == edge.to_mesh) return InvalidArgument("it goes from mesh %d to itself", edge.from_mesh.value());
  std::optional<int64_t> bytes = graph::SizeOf(edge.shape.dtype);
  for (int64_t d : edge.shape.dims) {
    if (d < 0) return InvalidArgument("its array has a dimension of size %d", d);
    bytes = CheckedMultiply(*bytes, std::max<int64_t>(1, d));
    if (!bytes) return InvalidArgument("the size of its array in bytes does not fit into 64 bits");
  }
  ALPA_RETURN_IF_ERROR(Annotate(Verify(edge.from, edge.shape.dims, executable.meshes[edge.from_mesh.value()]), "from"));
  return Annotate(Verify(edge.to, edge.shape.dims, executable.meshes[edge.to_mesh.value()]), "to");
}

absl::Status VerifyEdges(const Executable& executable) {
  int64_t pairs = 0;
  for (size_t e = 0; e < executable.edges.size(); ++e) {
    const Edge& edge = executable.edges[e];
    ALPA_RETURN_IF_ERROR(Annotate(VerifyEdge(executable, edge), absl::StrFormat("edge %d", e)));
    pairs += executable.meshes[edge.from_mesh.value()].size() * executable.meshes[edge.to_mesh.value()].size();
    if (pairs > kMaxPairs) return InvalidArgument("the edges connect more than %d pairs of devices", kMaxPairs);
  }
  return absl::OkStatus();
}

// Walks the instruction list of one mesh and tracks which slots hold a value.
class ListVerifier {
 public:
  ListVerifier(const Executable& executable, size_t mesh)
      : executable_(executable), mesh_(mesh), list_(executable.mesh_programs[mesh]) {}

  absl::Status Run() {
    for (const Slot& slot : list_.slots) {
      const bool given = slot.kind == Slot::Kind::kState || slot.kind == Slot::Kind::kInput;
      holds_.push_back(given);
    }
    ALPA_RETURN_IF_ERROR(Walk(list_.instructions, false));
    for (size_t s = 0; s < list_.slots.size(); ++s) {
      const Slot::Kind kind = list_.slots[s].kind;
      if (kind == Slot::Kind::kTemporary && holds_[s]) return InvalidArgument("temporary slot %d is never freed", s);
      if (kind == Slot::Kind::kAux && !holds_[s]) return InvalidArgument("aux slot %d is never written", s);
      if (kind == Slot::Kind::kState && !holds_[s])
        return InvalidArgument("state slot %d holds no value at the end", s);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Walk(const std::vector<Instruction>& instructions, bool in_loop) {
    for (size_t i = 0; i < instructions.size(); ++i) {
      absl::Status status =
          std::visit([&](const auto& action) { return Visit(action, in_loop); }, instructions[i].action);
      if (!status.ok()) return Annotate(status, absl::StrFormat("instruction %d%s", i, in_loop ? " of a loop" : ""));
    }
    return absl::OkStatus();
  }

  absl::Status CheckSlot(SlotId slot) const {
    if (!slot.valid() || slot.value() >= static_cast<int32_t>(list_.slots.size())) {
      return InvalidArgument("it names slot %d; the mesh has %d slots", slot.value(), list_.slots.size());
    }
    return absl::OkStatus();
  }
  absl::Status Read(SlotId slot) const {
    ALPA_RETURN_IF_ERROR(CheckSlot(slot));
    if (!holds_[slot.value()]) return InvalidArgument("slot %d is read before it holds a value", slot.value());
    return absl::OkStatus();
  }
  absl::Status Write(SlotId slot) {
    ALPA_RETURN_IF_ERROR(CheckSlot(slot));
    if (list_.slots[slot.value()].kind == Slot::Kind::kInput) {
      return InvalidArgument("slot %d is written, but it is an input", slot.value());
    }
    holds_[slot.value()] = true;
    return absl::OkStatus();
  }
  absl::Status CheckAxes(const std::vector<int64_t>& axes) const {
    std::set<int64_t> seen;
    for (int64_t axis : axes) {
      if (axis < 0 || axis >= static_cast<int64_t>(executable_.meshes[mesh_].shape.size()) ||
          !seen.insert(axis).second) {
        return InvalidArgument("mesh axis %d does not exist or is named twice", axis);
      }
    }
    return absl::OkStatus();
  }
  // Checks that one end of the edge is on this mesh and that `slot` has the shape of the edge's tile at that end. `at`
  // and `sharding` select the end.
  absl::Status CheckEdge(SlotId slot, int32_t edge, MeshId Edge::* at, Sharding Edge::* sharding) const {
    ALPA_RETURN_IF_ERROR(CheckSlot(slot));
    if (edge < 0 || edge >= static_cast<int32_t>(executable_.edges.size())) {
      return InvalidArgument("it names edge %d; there are %d edges", edge, executable_.edges.size());
    }
    const Edge& named = executable_.edges[edge];
    if ((named.*at).value() != static_cast<int32_t>(mesh_)) {
      return InvalidArgument("edge %d goes from mesh %d to mesh %d, so this mesh cannot use it in this direction", edge,
                             named.from_mesh.value(), named.to_mesh.value());
    }
    const Shape& given = list_.slots[slot.value()].shape;
    const Shape tile{named.shape.dtype, TileDims(named.shape.dims, named.*sharding, executable_.meshes[mesh_])};
    if (given != tile) {
      return InvalidArgument("a tile of edge %d is %s, but slot %d is %s", edge, tile.ToString(), slot.value(),
                             given.ToString());
    }
    return absl::OkStatus();
  }

  absl::Status Visit(const RunInstruction& run, bool in_loop) {
    if (run.program < 0 || run.program >= static_cast<int32_t>(executable_.programs.size())) {
      return InvalidArgument("it names program %d; there are %d programs", run.program, executable_.programs.size());
    }
    const StageProgram& program = executable_.programs[run.program];
    const graph::Graph& graph = program.graph;
    if (program.mesh.value() != static_cast<int32_t>(mesh_)) {
      return InvalidArgument("program \"%s\" is for mesh %d", program.name, program.mesh.value());
    }
    if (run.inputs.size() != graph.parameters().size() || run.outputs.size() != graph.results().size()) {
      return InvalidArgument("program \"%s\" takes %d inputs and returns %d outputs, but RUN names %d and %d slots",
                             program.name, graph.parameters().size(), graph.results().size(), run.inputs.size(),
                             run.outputs.size());
    }
    if (run.index < -1 || run.index >= kMaxRounds)
      return InvalidArgument("index %d is out of range; expected -1 to 1048575", run.index);
    if (in_loop && run.index != -1)
      return InvalidArgument("RUN has index %d, but is in a loop, which sets the index", run.index);
    for (size_t p = 0; p < run.inputs.size(); ++p) {
      const Shape& wanted = graph.shape(graph.parameters()[p]);
      if (!run.inputs[p].valid()) {
        if (!in_loop && run.index == -1) {
          return InvalidArgument("input %d is the loop index, but RUN is outside of any loop and without an index", p);
        }
        if (wanted != kLoopIndexShape)
          return InvalidArgument("input %d is the loop index, but the program expects %s", p, wanted.ToString());
        continue;
      }
      ALPA_RETURN_IF_ERROR(Read(run.inputs[p]));
      const Shape& given = list_.slots[run.inputs[p].value()].shape;
      if (given != wanted) {
        return InvalidArgument("input %d of \"%s\" is %s, but slot %d is %s", p, program.name, wanted.ToString(),
                               run.inputs[p].value(), given.ToString());
      }
    }
    std::set<SlotId> written;
    for (size_t r = 0; r < run.outputs.size(); ++r) {
      const SlotId slot = run.outputs[r];
      ALPA_RETURN_IF_ERROR(CheckSlot(slot));
      const Shape& given = graph.shape(graph.results()[r]);
      if (list_.slots[slot.value()].shape != given) {
        return InvalidArgument("output %d of \"%s\" is %s, but slot %d is %s", r, program.name, given.ToString(),
                               slot.value(), list_.slots[slot.value()].shape.ToString());
      }
      if (!written.insert(slot).second) return InvalidArgument("two outputs go to slot %d", slot.value());
      // A slot that the RUN both reads and writes is written in place. The program must alias this output to this
      // input.
      const auto input = std::find(run.inputs.begin(), run.inputs.end(), slot);
      const int32_t aliased = input == run.inputs.end() ? -1 : static_cast<int32_t>(input - run.inputs.begin());
      if (program.alias[r] != aliased) {
        return InvalidArgument(
            "output %d of \"%s\" goes to slot %d, which is input %d, but it aliases input %d (-1: none)", r,
            program.name, slot.value(), aliased, program.alias[r]);
      }
      if (std::count(run.inputs.begin(), run.inputs.end(), slot) > 1) {
        return InvalidArgument("slot %d is written in place, but several inputs name it", slot.value());
      }
      ALPA_RETURN_IF_ERROR(Write(slot));
    }
    return absl::OkStatus();
  }
  absl::Status Visit(const SendInstruction& send, bool) {
    ALPA_RETURN_IF_ERROR(CheckEdge(send.slot, send.edge, &Edge::from_mesh, &Edge::from));
    return Read(send.slot);
  }
  absl::Status Visit(const RecvInstruction& recv, bool) {
    ALPA_RETURN_IF_ERROR(CheckEdge(recv.slot, recv.edge, &Edge::to_mesh, &Edge::to));
    return Write(recv.slot);
  }
  absl::Status Visit(const BroadcastInstruction& broadcast, bool) {
    ALPA_RETURN_IF_ERROR(CheckAxes(broadcast.mesh_axes));
    if (broadcast.root_position < 0 || broadcast.root_position >= executable_.meshes[mesh_].size()) {
      return InvalidArgument("BROADCAST from position %d, which the mesh does not have", broadcast.root_position);
    }
    return Write(broadcast.slot);
  }
  absl::Status Visit(const CollectiveInstruction& collective, bool) {
    ALPA_RETURN_IF_ERROR(CheckAxes(collective.mesh_axes));
    for (SlotId slot : collective.slots) {
      ALPA_RETURN_IF_ERROR(Read(slot));
      ALPA_RETURN_IF_ERROR(Write(slot));
    }
    return absl::OkStatus();
  }
  absl::Status Visit(const AllocInstruction& alloc, bool) {
    ALPA_RETURN_IF_ERROR(CheckSlot(alloc.slot));
    const Slot::Kind kind = list_.slots[alloc.slot.value()].kind;
    if (kind != Slot::Kind::kTemporary && kind != Slot::Kind::kAux) {
      return InvalidArgument("ALLOC of slot %d, which is filled from outside", alloc.slot.value());
    }
    if (holds_[alloc.slot.value()]) return InvalidArgument("ALLOC of slot %d, which is in use", alloc.slot.value());
    return Write(alloc.slot);
  }
  absl::Status Visit(const FreeInstruction& free, bool) {
    ALPA_RETURN_IF_ERROR(CheckSlot(free.slot));
    if (list_.slots[free.slot.value()].kind != Slot::Kind::kTemporary) {
      return InvalidArgument("FREE of slot %d, which is not temporary", free.slot.value());
    }
    if (!holds_[free.slot.value()]) return InvalidArgument("FREE of slot %d, which holds no value", free.slot.value());
    holds_[free.slot.value()] = false;
    return absl::OkStatus();
  }
  absl::Status Visit(const LoopInstruction& loop, bool in_loop) {
    if (in_loop) return InvalidArgument("a loop inside a loop");
    if (loop.count < 1 || loop.count > kMaxRounds)
      return InvalidArgument("a loop of %d rounds; expected 1 to 1048576", loop.count);
    ALPA_RETURN_IF_ERROR(Walk(loop.body, true));
    if (loop.count == 1) return absl::OkStatus();
    // The slots that hold a value after the first round must allow a second round. If the second round leaves the same
    // slots in use, every later round does so too.
    const std::vector<bool> after = holds_;
    ALPA_RETURN_IF_ERROR(Walk(loop.body, true));
    if (holds_ != after) return InvalidArgument("two rounds of the loop leave different slots in use");
    return absl::OkStatus();
  }

  const Executable& executable_;
  const size_t mesh_;
  const MeshProgram& list_;
  std::vector<bool> holds_;  // one entry per slot: whether it holds a value
};

// Checks that every region of every leaf has exactly one slot, on the mesh of the region and with the shape of its
// tile.
absl::Status VerifyLeaves(const Executable& executable) {
  if (executable.inputs.size() != executable.input_is_state.size()) {
    return InvalidArgument("%d inputs are placed, but %d are marked as state or batch", executable.inputs.size(),
                           executable.input_is_state.size());
  }
  // The key is (is aux, leaf, region). The value says whether a slot was found.
  std::map<std::tuple<bool, int32_t, int32_t>, bool> wanted;
  auto place = [&](const std::vector<LeafPlacement>& leaves, bool aux) -> absl::Status {
    for (size_t l = 0; l < leaves.size(); ++l) {
      for (size_t r = 0; r < leaves[l].regions.size(); ++r) {
        const RegionPlacement& region = leaves[l].regions[r];
        const auto& dims = leaves[l].shape.dims;
        if (!region.mesh.valid() || region.mesh.value() >= static_cast<int32_t>(executable.meshes.size())) {
          return InvalidArgument("leaf %s lies on mesh %d, which does not exist", leaves[l].path, region.mesh.value());
        }
        if (region.region.start.size() != dims.size() || region.region.size.size() != dims.size()) {
          return InvalidArgument("leaf %s has a region of a different rank", leaves[l].path);
        }
        for (size_t d = 0; d < dims.size(); ++d) {
          const int64_t start = region.region.start[d], size = region.region.size[d];
          if (start < 0 || size < 0 || start > dims[d] || size > dims[d] - start) {
            return InvalidArgument("leaf %s has a region outside of its bounds", leaves[l].path);
          }
        }
        ALPA_RETURN_IF_ERROR(Annotate(
            Verify(region.sharding, region.region.size, executable.meshes[region.mesh.value()]), leaves[l].path));
        wanted[{aux, static_cast<int32_t>(l), static_cast<int32_t>(r)}] = false;
      }
    }
    return absl::OkStatus();
  };
  ALPA_RETURN_IF_ERROR(place(executable.inputs, false));
  ALPA_RETURN_IF_ERROR(place(executable.outputs, true));
  for (size_t m = 0; m < executable.mesh_programs.size(); ++m) {
    for (const Slot& slot : executable.mesh_programs[m].slots) {
      if (slot.kind == Slot::Kind::kTemporary) continue;
      const bool aux = slot.kind == Slot::Kind::kAux;
      const auto found = wanted.find({aux, slot.leaf, slot.region});
      if (found == wanted.end())
        return InvalidArgument("a slot is for leaf %d, region %d, which no placement lists", slot.leaf, slot.region);
      if (found->second) return InvalidArgument("leaf %d, region %d has two slots", slot.leaf, slot.region);
      found->second = true;
      const LeafPlacement& leaf = (aux ? executable.outputs : executable.inputs)[slot.leaf];
      const RegionPlacement& region = leaf.regions[slot.region];
      if (!aux && executable.input_is_state[slot.leaf] != (slot.kind == Slot::Kind::kState)) {
        return InvalidArgument("the slot of leaf %s has the wrong kind", leaf.path);
      }
      const Shape tile{leaf.shape.dtype, TileDims(region.region.size, region.sharding, executable.meshes[m])};
      if (region.mesh.value() != static_cast<int32_t>(m) || tile != slot.shape) {
        return InvalidArgument("the slot of leaf %s is %s on mesh %d, but its placement implies %s on mesh %d",
                               leaf.path, slot.shape.ToString(), m, tile.ToString(), region.mesh.value());
      }
    }
  }
  for (const auto& [key, found] : wanted) {
    if (!found) return InvalidArgument("leaf %d, region %d has no slot", std::get<1>(key), std::get<2>(key));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Verify(const Executable& executable) {
  if (executable.mesh_programs.size() != executable.meshes.size()) {
    return InvalidArgument("the executable has %d meshes but %d instruction lists", executable.meshes.size(),
                           executable.mesh_programs.size());
  }
  std::set<DeviceId> devices;
  for (const cluster::Mesh& mesh : executable.meshes) {
    ALPA_RETURN_IF_ERROR(Check(mesh));
    for (DeviceId device : mesh.devices) {
      if (!devices.insert(device).second) return InvalidArgument("device %d is in two meshes", device.value());
    }
  }
  for (size_t p = 0; p < executable.programs.size(); ++p) {
    ALPA_RETURN_IF_ERROR(Annotate(VerifyProgram(executable, executable.programs[p]),
                                  absl::StrFormat("program %d \"%s\"", p, executable.programs[p].name)));
  }
  ALPA_RETURN_IF_ERROR(VerifyLeaves(executable));
  ALPA_RETURN_IF_ERROR(VerifyEdges(executable));
  for (size_t m = 0; m < executable.meshes.size(); ++m) {
    ALPA_RETURN_IF_ERROR(Annotate(ListVerifier(executable, m).Run(), absl::StrFormat("mesh %d", m)));
  }
  return VerifyProgress(executable);
}

}  // namespace alpa::plan
