#include "tests/interpreter/interpreter.h"

#include <cstring>
#include <map>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/evaluator.h"

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

// Copies the box `region` between a whole array and a tile of the region's size (which may stand in a larger tile).
void CopyRegion(const Shape& whole, const Region& region, std::byte* whole_data, const Shape& tile, std::byte* tile_data,
                bool to_tile) {
  const int64_t element = graph::SizeOf(whole.dtype);
  const std::vector<int64_t> whole_strides = graph::Strides(whole.dims), tile_strides = graph::Strides(tile.dims);
  std::vector<int64_t> index(region.size.size(), 0);
  for (int64_t n = region.elements(); n > 0; --n) {
    int64_t at_whole = 0, at_tile = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      at_whole += (region.start[d] + index[d]) * whole_strides[d];
      at_tile += index[d] * tile_strides[d];
    }
    std::byte* a = whole_data + at_whole * element;
    std::byte* b = tile_data + at_tile * element;
    if (to_tile) std::memcpy(b, a, element);
    else std::memcpy(a, b, element);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < region.size[d]) break;
      index[d] = 0;
    }
  }
}

std::vector<std::byte> BytesOf(const Literal& literal) { return {literal.bytes().begin(), literal.bytes().end()}; }

class MeshInterpreter {
 public:
  MeshInterpreter(const plan::Executable& executable, size_t mesh)
      : executable_(executable), mesh_(executable.meshes[mesh]), list_(executable.mesh_programs[mesh]),
        slots_(mesh_.size(), std::vector<Literal>(list_.slots.size())) {}

  void Put(SlotId slot, int64_t device, Literal value) { slots_[device][slot.value()] = std::move(value); }
  const Literal& Get(SlotId slot, int64_t device) const { return slots_[device][slot.value()]; }

  absl::Status Run(const std::vector<Instruction>& instructions, int32_t loop_index) {
    for (const Instruction& instruction : instructions) {
      if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
        ALPA_RETURN_IF_ERROR(RunProgram(*run, loop_index));
      } else if (const auto* alloc = std::get_if<plan::AllocInstruction>(&instruction.action)) {
        for (auto& device : slots_) {
          ALPA_ASSIGN_OR_RETURN(device[alloc->slot.value()], Filled(list_.slots[alloc->slot.value()].shape, alloc->fill));
        }
      } else if (const auto* free = std::get_if<plan::FreeInstruction>(&instruction.action)) {
        for (auto& device : slots_) device[free->slot.value()] = Literal();
      } else if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
        for (int64_t i = 0; i < loop->count; ++i) ALPA_RETURN_IF_ERROR(Run(loop->body, static_cast<int32_t>(i)));
      } else {
        return Unimplemented("the interpreter has no messages between meshes");
      }
    }
    return absl::OkStatus();
  }

 private:
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

  // What `rank` gets where each device of the group gives its part.
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
      default: return Unimplemented("the interpreter lacks %s", std::string(graph::NameOf(op.opcode)));
    }
    builder.SetResults({result});
    ALPA_ASSIGN_OR_RETURN(std::vector<Literal> results, graph::Evaluate(builder.Build(), parts));
    return results[0];
  }

  const plan::Executable& executable_;
  const cluster::Mesh& mesh_;
  const plan::MeshProgram& list_;
  std::vector<std::vector<Literal>> slots_;   // [device][slot]
};

}  // namespace

absl::StatusOr<std::vector<Literal>> Interpret(const plan::Executable& executable, const std::vector<Literal>& inputs,
                                               const std::vector<int32_t>& state_input_of_result) {
  std::vector<MeshInterpreter> meshes;
  for (size_t m = 0; m < executable.meshes.size(); ++m) meshes.emplace_back(executable, m);
  auto slot_of = [&](size_t mesh, bool aux, int32_t leaf) {
    const auto& slots = executable.mesh_programs[mesh].slots;
    for (size_t s = 0; s < slots.size(); ++s) {
      if (slots[s].kind == Slot::Kind::kTemporary || (slots[s].kind == Slot::Kind::kAux) != aux) continue;
      if (slots[s].leaf == leaf) return SlotId(static_cast<int32_t>(s));
    }
    return SlotId();
  };
  for (size_t leaf = 0; leaf < inputs.size(); ++leaf) {
    const plan::LeafPlacement& placement = executable.inputs[leaf];
    const plan::RegionPlacement& region = placement.regions.at(0);
    const cluster::Mesh& mesh = executable.meshes[region.mesh.value()];
    std::vector<std::byte> whole = BytesOf(inputs[leaf]);
    for (int64_t d = 0; d < mesh.size(); ++d) {
      const Shape tile{placement.shape.dtype, plan::TileDims(region.region.size, region.sharding, mesh)};
      std::vector<std::byte> bytes(tile.bytes());
      CopyRegion(placement.shape, plan::TileOf(region.region.size, region.sharding, mesh, d), whole.data(), tile,
                 bytes.data(), true);
      meshes[region.mesh.value()].Put(slot_of(region.mesh.value(), false, static_cast<int32_t>(leaf)), d,
                                      Literal(tile, std::move(bytes)));
    }
  }
  for (size_t m = 0; m < meshes.size(); ++m) {
    ALPA_RETURN_IF_ERROR(meshes[m].Run(executable.mesh_programs[m].instructions, -1));
  }
  std::vector<Literal> results;
  for (size_t r = 0; r < executable.outputs.size(); ++r) {
    const bool aux = state_input_of_result[r] < 0;
    const int32_t leaf = aux ? static_cast<int32_t>(r) : state_input_of_result[r];
    const plan::LeafPlacement& placement = aux ? executable.outputs[r] : executable.inputs[leaf];
    const plan::RegionPlacement& region = placement.regions.at(0);
    const cluster::Mesh& mesh = executable.meshes[region.mesh.value()];
    std::vector<std::byte> whole(placement.shape.bytes());
    std::map<std::vector<int64_t>, Literal> seen;   // by the tile's start
    for (int64_t d = 0; d < mesh.size(); ++d) {
      const Region tile = plan::TileOf(region.region.size, region.sharding, mesh, d);
      const Literal& value = meshes[region.mesh.value()].Get(slot_of(region.mesh.value(), aux, leaf), d);
      const auto [known, first] = seen.try_emplace(tile.start, value);
      if (!first && !(known->second == value)) return Internal("replicas of %s differ on device %d", placement.path, d);
      std::vector<std::byte> bytes = BytesOf(value);
      CopyRegion(placement.shape, tile, whole.data(), value.shape(), bytes.data(), false);
    }
    results.push_back(Literal(placement.shape, std::move(whole)));
  }
  return results;
}

}  // namespace alpa::testing
