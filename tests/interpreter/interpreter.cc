#include "tests/interpreter/interpreter.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "plan/reshard.h"

namespace alpa::testing {

using graph::Graph;
using graph::Literal;
using graph::Op;
using graph::Opcode;
using graph::Shape;
using plan::Instruction;
using plan::Region;
using plan::Slot;
using plan::SlotId;

namespace {

// Describes a dense array that holds the elements of a box. `start` and `dims` are in the coordinates of the leaf or
// edge.
struct Window {
  std::vector<int64_t> start, dims;
};

// Copies the elements of `box` from one window to another. Both windows contain the box. The box and the windows use
// the same coordinates. `element` is the number of bytes per element.
void CopyBox(const Region& box, int64_t element, const Window& from, const std::byte* source, const Window& to,
             std::byte* destination) {
  const std::vector<int64_t> from_strides = graph::Strides(from.dims), to_strides = graph::Strides(to.dims);
  std::vector<int64_t> index(box.size.size(), 0);
  for (int64_t n = box.elements(); n > 0; --n) {
    int64_t at_from = 0, at_to = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      at_from += (box.start[d] - from.start[d] + index[d]) * from_strides[d];
      at_to += (box.start[d] - to.start[d] + index[d]) * to_strides[d];
    }
    std::memcpy(destination + at_to * element, source + at_from * element, element);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < box.size[d]) break;
      index[d] = 0;
    }
  }
}

Window WindowOf(const Region& region) { return {region.start, region.size}; }

// Returns the tile of a region on device number `device` of the mesh, in the coordinates of the leaf.
Region LeafTile(const plan::RegionPlacement& placed, const cluster::Mesh& mesh, int64_t device) {
  Region tile = plan::TileOf(placed.region.size, placed.sharding, mesh, device);
  for (size_t d = 0; d < tile.start.size(); ++d) tile.start[d] += placed.region.start[d];
  return tile;
}

using Round = std::vector<std::vector<std::byte>>;  // sends an edge's array once; one message per transfer
using Mail = std::vector<std::deque<Round>>;         // one entry per edge: the rounds sent but not received, in order

class MeshInterpreter {
 public:
  MeshInterpreter(const plan::Executable& executable, size_t mesh)
      : executable_(executable), mesh_(executable.meshes[mesh]), list_(executable.mesh_programs[mesh]),
        slots_(mesh_.size(), std::vector<Literal>(list_.slots.size())) {
    Unroll(list_.instructions, -1);
  }

  void Put(SlotId slot, int64_t device, Literal value) { slots_[device][slot.value()] = std::move(value); }
  const Literal& Get(SlotId slot, int64_t device) const { return slots_[device][slot.value()]; }

  // Runs until the end of the list, or until a RECV whose messages have not been sent. Returns whether it executed an
  // instruction.
  absl::StatusOr<bool> Run(Mail& mail) {
    const size_t first = next_;
    for (; !done(); ++next_) {
      const auto& [instruction, loop_index] = steps_[next_];
      const auto* recv = std::get_if<plan::RecvInstruction>(&instruction->action);
      if (recv != nullptr && mail[recv->edge].empty()) break;
      ALPA_RETURN_IF_ERROR(Annotate(Do(*instruction, loop_index, mail),
                                    absl::StrFormat("instruction %d of the unrolled list", next_)));
    }
    return next_ > first;
  }
  bool done() const { return next_ == steps_.size(); }

 private:
  struct Step {
    const Instruction* instruction = nullptr;
    int32_t loop_index = -1;
  };

  void Unroll(const std::vector<Instruction>& instructions, int32_t loop_index) {
    for (const Instruction& instruction : instructions) {
      if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
        for (int64_t i = 0; i < loop->count; ++i) Unroll(loop->body, static_cast<int32_t>(i));
      } else {
        const auto* run = std::get_if<plan::RunInstruction>(&instruction.action);
        steps_.push_back({&instruction, run != nullptr && run->index >= 0 ? run->index : loop_index});
      }
    }
  }

  absl::Status Do(const Instruction& instruction, int32_t loop_index, Mail& mail) {
    if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
      ALPA_RETURN_IF_ERROR(RunProgram(*run, loop_index));
    } else if (const auto* alloc = std::get_if<plan::AllocInstruction>(&instruction.action)) {
      for (auto& device : slots_) {
        ALPA_ASSIGN_OR_RETURN(device[alloc->slot.value()], Filled(list_.slots[alloc->slot.value()].shape, alloc->fill));
      }
    } else if (const auto* free = std::get_if<plan::FreeInstruction>(&instruction.action)) {
      for (auto& device : slots_) device[free->slot.value()] = Literal();
    } else if (const auto* send = std::get_if<plan::SendInstruction>(&instruction.action)) {
      Send(*send, mail);
    } else if (const auto* recv = std::get_if<plan::RecvInstruction>(&instruction.action)) {
      Receive(*recv, mail);
    } else {
      return Unimplemented("the interpreter does not support BROADCAST and collective instructions");
    }
    return absl::OkStatus();
  }

  // Returns the part of the edge's array that a slot of this mesh holds on the device.
  Window TileWindow(const plan::Edge& edge, const plan::Sharding& sharding, int64_t device) const {
    return {plan::TileOf(edge.shape.dims, sharding, mesh_, device).start,
            plan::TileDims(edge.shape.dims, sharding, mesh_)};
  }
  int64_t PositionOf(DeviceId device) const {
    return std::find(mesh_.devices.begin(), mesh_.devices.end(), device) - mesh_.devices.begin();
  }

  void Send(const plan::SendInstruction& send, Mail& mail) const {
    const plan::Edge& edge = executable_.edges[send.edge];
    const int64_t element = graph::SizeOf(edge.shape.dtype);
    Round round;
    for (const plan::Transfer& transfer : plan::Transfers(edge, executable_.meshes)) {
      const int64_t device = PositionOf(transfer.source);
      std::vector<std::byte>& message = round.emplace_back(transfer.region.elements() * element);
      CopyBox(transfer.region, element, TileWindow(edge, edge.from, device),
              slots_[device][send.slot.value()].bytes().data(), WindowOf(transfer.region), message.data());
    }
    mail[send.edge].push_back(std::move(round));
  }

  void Receive(const plan::RecvInstruction& recv, Mail& mail) {
    const plan::Edge& edge = executable_.edges[recv.edge];
    const int64_t element = graph::SizeOf(edge.shape.dtype);
    const Shape& tile = list_.slots[recv.slot.value()].shape;
    std::vector<std::vector<std::byte>> tiles(mesh_.size(), std::vector<std::byte>(tile.bytes()));
    const std::vector<plan::Transfer> transfers = plan::Transfers(edge, executable_.meshes);
    for (size_t t = 0; t < transfers.size(); ++t) {
      const int64_t device = PositionOf(transfers[t].destination);
      CopyBox(transfers[t].region, element, WindowOf(transfers[t].region), mail[recv.edge].front()[t].data(),
              TileWindow(edge, edge.to, device), tiles[device].data());
    }
    mail[recv.edge].pop_front();
    for (int64_t d = 0; d < mesh_.size(); ++d) slots_[d][recv.slot.value()] = Literal(tile, std::move(tiles[d]));
  }

  static absl::StatusOr<Literal> Filled(const Shape& shape, double fill) {
    graph::GraphBuilder builder;
    builder.SetResults({builder.Full(shape, fill)});
    ALPA_ASSIGN_OR_RETURN(std::vector<Literal> result, graph::Evaluate(builder.Build(), {}));
    return result[0];
  }

  absl::Status RunProgram(const plan::RunInstruction& run, int32_t loop_index) {
    const Graph& graph = executable_.programs[run.program].graph;
    std::vector<std::vector<Literal>> values(mesh_.size(), std::vector<Literal>(graph.values().size()));
    for (const Op& op : graph.ops()) {
      if (op.opcode == Opcode::kParameter) {
        const int64_t p = op.as<graph::ParameterAttrs>().index;
        for (int64_t d = 0; d < mesh_.size(); ++d) {
          const SlotId slot = run.inputs[p];
          values[d][op.results[0].value()] =
              slot.valid() ? slots_[d][slot.value()] : Literal::Scalar<int32_t>(graph::DType::kS32, loop_index);
        }
      } else if (graph::IsCollective(op.opcode) || op.opcode == Opcode::kAxisIndex) {
        ALPA_RETURN_IF_ERROR(Collective(op, values));
      } else {
        for (auto& device : values) {
          std::vector<Literal> operands;
          for (graph::ValueId v : op.operands) operands.push_back(device[v.value()]);
          ALPA_ASSIGN_OR_RETURN(std::vector<Literal> results, graph::EvaluateOp(graph, op, operands));
          for (size_t r = 0; r < results.size(); ++r) device[op.results[r].value()] = std::move(results[r]);
        }
      }
    }
    for (int64_t d = 0; d < mesh_.size(); ++d) {
      for (size_t r = 0; r < run.outputs.size(); ++r) {
        slots_[d][run.outputs[r].value()] = values[d][graph.results()[r].value()];
      }
    }
    return absl::OkStatus();
  }

  absl::Status Collective(const Op& op, std::vector<std::vector<Literal>>& values) {
    const auto& attrs = op.as<graph::CollectiveAttrs>();
    for (const std::vector<int64_t>& group : mesh_.Groups(attrs.mesh_axes)) {
      if (op.opcode == Opcode::kAxisIndex) {
        for (size_t rank = 0; rank < group.size(); ++rank) {
          values[group[rank]][op.results[0].value()] = Literal::Scalar<int32_t>(graph::DType::kS32, rank);
        }
        continue;
      }
      for (size_t i = 0; i < op.operands.size(); ++i) {
        std::vector<Literal> parts;
        for (int64_t member : group) parts.push_back(values[member][op.operands[i].value()]);
        for (size_t rank = 0; rank < group.size(); ++rank) {
          ALPA_ASSIGN_OR_RETURN(values[group[rank]][op.results[i].value()], CollectiveResult(op, parts, rank));
        }
      }
    }
    return absl::OkStatus();
  }

  // Returns the result of the collective on rank `rank`. `parts` holds the operands of the group's devices, one entry
  // per rank.
  static absl::StatusOr<Literal> CollectiveResult(const Op& op, const std::vector<Literal>& parts, size_t rank) {
    const auto& attrs = op.as<graph::CollectiveAttrs>();
    const int64_t n = static_cast<int64_t>(parts.size());
    graph::GraphBuilder builder;
    std::vector<graph::ValueId> inputs;
    for (const Literal& part : parts) inputs.push_back(builder.Parameter(part.shape()));
    auto combine = [&] {
      static const std::map<graph::ReduceKind, Opcode> kCombine = {
          {graph::ReduceKind::kSum, Opcode::kAdd},     {graph::ReduceKind::kMax, Opcode::kMaximum},
          {graph::ReduceKind::kMin, Opcode::kMinimum}, {graph::ReduceKind::kAnd, Opcode::kAnd},
          {graph::ReduceKind::kOr, Opcode::kOr},       {graph::ReduceKind::kProduct, Opcode::kMultiply}};
      graph::ValueId combined = inputs[0];
      for (int64_t k = 1; k < n; ++k) combined = builder.Binary(kCombine.at(attrs.kind), combined, inputs[k]);
      return combined;
    };
    auto block = [&](graph::ValueId v) {
      const std::vector<int64_t> dims = builder.shape(v).dims;
      std::vector<int64_t> starts(dims.size(), 0), limits = dims;
      const int64_t size = dims[attrs.dim] / n;
      starts[attrs.dim] = static_cast<int64_t>(rank) * size;
      limits[attrs.dim] = starts[attrs.dim] + size;
      return builder.Slice(v, starts, limits);
    };
    graph::ValueId result;
    switch (op.opcode) {
      case Opcode::kAllReduce: result = combine(); break;
      case Opcode::kReduceScatter: result = block(combine()); break;
      case Opcode::kAllGather: result = builder.Concatenate(inputs, attrs.dim); break;
      case Opcode::kAllToAll: {
        std::vector<graph::ValueId> blocks;
        for (graph::ValueId v : inputs) blocks.push_back(block(v));
        result = builder.Concatenate(blocks, attrs.concat_dim);
        break;
      }
      default: return Unimplemented("the interpreter does not support %s", std::string(graph::NameOf(op.opcode)));
    }
    builder.SetResults({result});
    ALPA_ASSIGN_OR_RETURN(std::vector<Literal> results, graph::Evaluate(builder.Build(), parts));
    return results[0];
  }

  const plan::Executable& executable_;
  const cluster::Mesh& mesh_;
  const plan::MeshProgram& list_;
  std::vector<std::vector<Literal>> slots_;   // [device][slot]
  std::vector<Step> steps_;
  size_t next_ = 0;
};

// Runs the meshes in turn until no mesh makes progress. In its turn, a mesh runs as far as possible. A SEND does not
// wait for its RECV.
absl::Status RunMeshes(std::vector<MeshInterpreter>& meshes, size_t edges) {
  Mail mail(edges);
  bool moved = true;
  while (moved) {
    moved = false;
    for (size_t m = 0; m < meshes.size(); ++m) {
      const absl::StatusOr<bool> ran = meshes[m].Run(mail);
      if (!ran.ok()) return Annotate(ran.status(), absl::StrFormat("mesh %d", m));
      moved |= *ran;
    }
  }
  for (size_t m = 0; m < meshes.size(); ++m) {
    if (!meshes[m].done()) return Internal("mesh %d waits for a message that no mesh sends", m);
  }
  for (size_t e = 0; e < edges; ++e) {
    if (!mail[e].empty()) return Internal("edge %d: %d rounds were sent, but not received", e, mail[e].size());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Literal>> Interpret(const plan::Executable& executable, const std::vector<Literal>& inputs,
                                               const std::vector<int32_t>& state_input_of_result) {
  std::vector<MeshInterpreter> meshes;
  for (size_t m = 0; m < executable.meshes.size(); ++m) meshes.emplace_back(executable, m);
  auto slot_of = [&](size_t mesh, bool aux, int32_t leaf, size_t region) {
    const auto& slots = executable.mesh_programs[mesh].slots;
    for (size_t s = 0; s < slots.size(); ++s) {
      if (slots[s].kind == Slot::Kind::kTemporary || (slots[s].kind == Slot::Kind::kAux) != aux) continue;
      if (slots[s].leaf == leaf && slots[s].region == static_cast<int32_t>(region)) {
        return SlotId(static_cast<int32_t>(s));
      }
    }
    return SlotId();
  };
  for (size_t leaf = 0; leaf < inputs.size(); ++leaf) {
    const plan::LeafPlacement& placement = executable.inputs[leaf];
    const Window full{std::vector<int64_t>(placement.shape.dims.size(), 0), placement.shape.dims};
    for (size_t r = 0; r < placement.regions.size(); ++r) {
      const plan::RegionPlacement& placed = placement.regions[r];
      const cluster::Mesh& mesh = executable.meshes[placed.mesh.value()];
      const SlotId slot = slot_of(placed.mesh.value(), false, static_cast<int32_t>(leaf), r);
      const Shape shape{placement.shape.dtype, plan::TileDims(placed.region.size, placed.sharding, mesh)};
      for (int64_t d = 0; d < mesh.size(); ++d) {
        const Region tile = LeafTile(placed, mesh, d);
        std::vector<std::byte> bytes(shape.bytes());
        CopyBox(tile, graph::SizeOf(shape.dtype), full, inputs[leaf].bytes().data(), {tile.start, shape.dims},
                bytes.data());
        meshes[placed.mesh.value()].Put(slot, d, Literal(shape, std::move(bytes)));
      }
    }
  }
  ALPA_RETURN_IF_ERROR(RunMeshes(meshes, executable.edges.size()));
  std::vector<Literal> results;
  for (size_t result = 0; result < executable.outputs.size(); ++result) {
    const bool aux = state_input_of_result[result] < 0;
    const int32_t leaf = aux ? static_cast<int32_t>(result) : state_input_of_result[result];
    const plan::LeafPlacement& placement = aux ? executable.outputs[result] : executable.inputs[leaf];
    const Window full{std::vector<int64_t>(placement.shape.dims.size(), 0), placement.shape.dims};
    std::vector<std::byte> bytes(placement.shape.bytes());
    for (size_t r = 0; r < placement.regions.size(); ++r) {
      const plan::RegionPlacement& placed = placement.regions[r];
      const cluster::Mesh& mesh = executable.meshes[placed.mesh.value()];
      const SlotId slot = slot_of(placed.mesh.value(), aux, leaf, r);
      std::map<std::vector<int64_t>, Literal> seen;   // key: the start of the tile
      for (int64_t d = 0; d < mesh.size(); ++d) {
        const Region tile = LeafTile(placed, mesh, d);
        if (tile.elements() == 0) continue;
        const Literal& value = meshes[placed.mesh.value()].Get(slot, d);
        const auto [known, first] = seen.try_emplace(tile.start, value);
        if (!first && !(known->second == value)) {
          return Internal("replicas of %s differ on device %d of mesh %d", placement.path, d, placed.mesh.value());
        }
        CopyBox(tile, graph::SizeOf(placement.shape.dtype), {tile.start, value.shape().dims}, value.bytes().data(),
                full, bytes.data());
      }
    }
    results.push_back(Literal(placement.shape, std::move(bytes)));
  }
  return results;
}

}  // namespace alpa::testing
