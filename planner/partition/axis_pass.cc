#include "planner/partition/axis_pass.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/simplify.h"
#include "planner/lower/local_op.h"
#include "planner/partition/combine.h"
#include "planner/partition/graph_partition.h"
#include "planner/partition/pad_slot.h"
#include "planner/strategy/rule_set.h"

namespace alpa::planner {

using graph::ValueId;
using plan::Executable;
using plan::Instruction;
using plan::Slot;
using plan::SlotId;

namespace {

// The maximum number of rounds. A round runs propagation once over the instruction list. States settle in a few rounds,
// because every leaf follows its new value at most once.
constexpr int kMaxRounds = 16;

class AxisPass {
 public:
  // `like`: null, or the rules that the ops must follow, one entry per program and op.
  AxisPass(const Executable& executable, const AxisRequest& request, std::vector<plan::Sharding>* tiles,
           const std::map<int32_t, std::vector<OpRule>>* like = nullptr)
      : padded_(PadIfNeeded(executable, request)), in_(padded_ ? *padded_ : executable), request_(request),
        tiles_(tiles), like_(like), mesh_(request.mesh.value()), list_(in_.mesh_programs[mesh_]),
        axis_{static_cast<int64_t>(in_.meshes[mesh_].shape.size()), request.size},
        slots_(list_.slots.size()), settled_(list_.slots.size(), false) {}

  // Returns a copy of `executable` that stores the leaf of a cut in ceil-sized tiles if the axis does not divide the
  // dimension of the cut. Skips a dimension that another axis already cuts. Returns nullopt if nothing is padded.
  static std::optional<Executable> PadIfNeeded(const Executable& executable, const AxisRequest& request) {
    std::optional<Executable> padded;
    const int32_t mesh = request.mesh.value();
    const std::vector<Slot>& slots = executable.mesh_programs[mesh].slots;
    for (const plan::Cut& cut : request.cuts) {
      for (size_t s = 0; s < slots.size(); ++s) {
        const Slot& slot = slots[s];
        if ((slot.kind != Slot::Kind::kState && slot.kind != Slot::Kind::kInput) || slot.leaf != cut.leaf) continue;
        if (cut.dim < 0 || cut.dim >= slot.shape.rank() || slot.shape.dims[cut.dim] == 0) continue;
        const auto& dim_axes = executable.inputs[slot.leaf].regions[slot.region].sharding.dim_axes;
        if (cut.dim < static_cast<int64_t>(dim_axes.size()) && !dim_axes[cut.dim].empty()) continue;
        const int64_t size = slot.shape.dims[cut.dim], tile = (size + request.size - 1) / request.size;
        if (tile * request.size != size) {
          if (!padded) padded = executable;
          PadSlot(*padded, mesh, SlotId(static_cast<int32_t>(s)), cut.dim, tile * request.size);
        }
      }
    }
    return padded;
  }

  absl::StatusOr<AxisStates> States() {
    ALPA_RETURN_IF_ERROR(FindStates());
    return AxisStates{std::move(slots_), std::move(found_)};
  }

  absl::StatusOr<AxisDraft> Draft() {
    ALPA_RETURN_IF_ERROR(FindStates());
    AxisDraft draft;
    ALPA_RETURN_IF_ERROR(DraftRuns(list_.instructions, draft));
    for (size_t s = 0; s < slots_.size(); ++s) {
      graph::Shape& tile = draft.slots.emplace_back(list_.slots[s].shape);
      tile.dims = ChunkDims(tile.dims, slots_[s].state, axis_.size);
      if (slots_[s].state.partial()) tile.dtype = Widened(tile.dtype);
    }
    return draft;
  }

  absl::StatusOr<Executable> Run() {
    ALPA_ASSIGN_OR_RETURN(const AxisDraft draft, Draft());
    return Write(draft);
  }

 private:
  // Finds the states of all slots and values.
  absl::Status FindStates() {
    if (!request_.reduce_scatter_along.empty()) {
      AxisRequest along = request_;
      along.cuts = std::move(along.reduce_scatter_along);
      along.reduce_scatter_along.clear();
      along.pins.clear();
      along.reduce_scatter_from = 0;
      AxisPass pass(in_, along, nullptr);
      ALPA_RETURN_IF_ERROR(pass.FindStates());
      along_ = std::move(pass.found_);
    }
    ALPA_RETURN_IF_ERROR(SetCuts());
    ALPA_RETURN_IF_ERROR(SetPins());
    ALPA_RETURN_IF_ERROR(CheckInstructions(list_.instructions));
    for (int round = 0; round < kMaxRounds; ++round) {
      changed_ = false;
      Walk(list_.instructions);
      if (!changed_) return absl::OkStatus();
      // If `kMaxRounds - 1` rounds reach no fixed point, every unsettled slot becomes replicated.
      if (round == kMaxRounds - 2) {
        for (size_t s = 0; s < slots_.size(); ++s) {
          if (!settled_[s]) slots_[s] = {}, settled_[s] = true;
        }
      }
    }
    return Internal("axis \"%s\": the states of the slots reach no fixed point", request_.name);
  }

  const plan::LeafPlacement& LeafOf(const Slot& slot) const {
    return (slot.kind == Slot::Kind::kAux ? in_.outputs : in_.inputs)[slot.leaf];
  }

  absl::Status SetCuts() {
    for (const plan::Cut& cut : request_.cuts) {
      bool found = false;
      for (size_t s = 0; s < list_.slots.size(); ++s) {
        const Slot& slot = list_.slots[s];
        if ((slot.kind != Slot::Kind::kState && slot.kind != Slot::Kind::kInput) || slot.leaf != cut.leaf) continue;
        found = settled_[s] = true;
        if (cut.dim < 0) continue;
        if (!CanSplit(slot.shape.dims, cut.dim, 1, axis_.size)) {
          return InvalidArgument("axis \"%s\" of size %d does not divide dimension %d of the tile %s of %s",
                                 request_.name, axis_.size, cut.dim, slot.shape.ToString(), LeafOf(slot).path);
        }
        slots_[s] = {AxisState::Split(cut.dim), cut.rank, false};
      }
      if (!found) {
        return InvalidArgument("axis \"%s\": a cut names leaf %d, which is not on mesh %d", request_.name, cut.leaf,
                               mesh_);
      }
    }
    return absl::OkStatus();
  }

  absl::Status SetPins() {
    for (const plan::ValuePin& pin : request_.pins) {
      const bool here = pin.program >= 0 && pin.program < static_cast<int32_t>(in_.programs.size()) &&
                        in_.programs[pin.program].mesh == request_.mesh;
      if (!here) {
        return InvalidArgument("axis \"%s\": a pin names program %d, which mesh %d does not run", request_.name,
                               pin.program, mesh_);
      }
      pins_[pin.program].push_back(pin);
    }
    for (const auto& [program, pins] : pins_) {
      ALPA_RETURN_IF_ERROR(Annotate(
          CheckPins(in_.programs[program].graph, axis_, pins),
          absl::StrCat("axis \"", request_.name, "\", program \"", in_.programs[program].name, "\"")));
    }
    return absl::OkStatus();
  }

  absl::Status CheckInstructions(const std::vector<Instruction>& instructions) const {
    for (const Instruction& instruction : instructions) {
      if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
        ALPA_RETURN_IF_ERROR(CheckInstructions(loop->body));
      } else if (!std::holds_alternative<plan::RunInstruction>(instruction.action) &&
                 !std::holds_alternative<plan::AllocInstruction>(instruction.action) &&
                 !std::holds_alternative<plan::FreeInstruction>(instruction.action)) {
        return Unimplemented("a mesh that exchanges messages cannot be cut along axis \"%s\" yet", request_.name);
      }
    }
    return absl::OkStatus();
  }

  // ---- States of slots and values ----

  void Walk(const std::vector<Instruction>& instructions) {
    for (const Instruction& instruction : instructions) {
      if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
        Visit(*run);
      } else if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
        Walk(loop->body);
      } else if (const auto* alloc = std::get_if<plan::AllocInstruction>(&instruction.action)) {
        fills_[alloc->slot] = alloc->fill;
        if (request_.shard_accumulators) ShardAccumulator(*alloc);
      }
    }
  }

  void ShardAccumulator(const plan::AllocInstruction& alloc) {
    const size_t s = alloc.slot.value();
    const Slot& slot = list_.slots[s];
    if (settled_[s] || slot.kind != Slot::Kind::kTemporary || alloc.fill != 0) return;
    const std::optional<int64_t> dim = StoredDim(slot.shape.dims, axis_.size);
    if (!dim || slot.shape.elements() < request_.reduce_scatter_from) return;
    slots_[s] = {AxisState::Split(*dim), plan::CutRank::kStored, false};
    settled_[s] = changed_ = true;
  }

  Propagation PropagateRun(const plan::RunInstruction& run) const {
    std::vector<ValueState> parameters;
    for (SlotId slot : run.inputs) {
      if (!slot.valid()) {
        parameters.push_back({});
        continue;
      }
      ValueState state = slots_[slot.value()];
      // An accumulator is zero until something is added to it.
      const auto fill = fills_.find(slot);
      state.zero = state.state.replicated() && fill != fills_.end() && fill->second == 0;
      parameters.push_back(state);
    }
    PropagateOptions options{axis_, request_.reduce_scatter_from, nullptr, {}, nullptr};
    if (const auto along = along_.find(run.program); along != along_.end()) {
      options.reduce_scatter_like = &along->second.values;
    }
    if (const auto pins = pins_.find(run.program); pins != pins_.end()) options.pins = pins->second;
    if (like_ != nullptr) options.like = &like_->at(run.program);
    return Propagate(in_.programs[run.program].graph, parameters, options);
  }

  void Visit(const plan::RunInstruction& run) {
    const Propagation& found = found_[run.program] = PropagateRun(run);
    const graph::Graph& graph = in_.programs[run.program].graph;
    for (size_t r = 0; r < run.outputs.size(); ++r) {
      const size_t s = run.outputs[r].value();
      if (settled_[s]) continue;
      const Slot& slot = list_.slots[s];
      ValueState made = found.values[graph.results()[r].value()];
      made.zero = false;
      const bool tiled = slot.kind != Slot::Kind::kTemporary || (!request_.exchanged.empty() && request_.exchanged[s]);
      if (tiled && (made.state.partial() || (made.state.split() && made.state.outer != 1))) made = {};
      // A state leaf takes the state of its new value at most once. After that, the state of the leaf is settled.
      if (slot.kind == Slot::Kind::kState) {
        if (made.state.replicated()) continue;
        settled_[s] = true;
      }
      if (made.state == slots_[s].state && made.rank == slots_[s].rank) continue;
      slots_[s] = made;
      changed_ = true;
    }
  }

  // ---- The new executable ----

  absl::StatusOr<Executable> Write(const AxisDraft& draft) {
    out_ = in_;
    cluster::Mesh& mesh = out_.meshes[mesh_];
    mesh.shape.push_back(request_.size);
    mesh.axis_names.push_back(request_.name);
    mesh.devices = request_.devices;
    ALPA_RETURN_IF_ERROR(cluster::Check(mesh));
    for (size_t s = 0; s < list_.slots.size(); ++s) {
      Slot& slot = out_.mesh_programs[mesh_].slots[s];
      const AxisState& state = slots_[s].state;
      slot.shape = draft.slots[s];
      if (tiles_ != nullptr && state.split() && state.outer == 1) AddAxis((*tiles_)[s], state.dim);
      if (slot.kind == Slot::Kind::kTemporary || !state.split()) continue;
      auto& leaf = (slot.kind == Slot::Kind::kAux ? out_.outputs : out_.inputs)[slot.leaf];
      AddAxis(leaf.regions[slot.region].sharding, state.dim);
    }
    for (const auto& [program, graph] : draft.programs) {
      out_.programs[program].graph = graph::Simplify(CombineAllReduces(graph));
    }
    return std::move(out_);
  }

  void AddAxis(plan::Sharding& sharding, int64_t dim) const {
    if (static_cast<int64_t>(sharding.dim_axes.size()) <= dim) sharding.dim_axes.resize(dim + 1);
    sharding.dim_axes[dim].push_back(axis_.index);
  }

  absl::Status DraftRuns(const std::vector<Instruction>& instructions, AxisDraft& draft) {
    for (const Instruction& instruction : instructions) {
      if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
        ALPA_RETURN_IF_ERROR(DraftRuns(loop->body, draft));
      } else if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
        if (draft.programs.contains(run->program)) {
          return Unimplemented("a program that two instructions run cannot be cut along an axis yet");
        }
        std::vector<AxisState> results;
        for (SlotId slot : run->outputs) results.push_back(slots_[slot.value()].state);
        const graph::Graph& graph = in_.programs[run->program].graph;
        ForgetZeroParameters(graph, found_.at(run->program).values);
        draft.programs.emplace(run->program, PartitionGraph(graph, found_.at(run->program), results, axis_));
      }
    }
    return absl::OkStatus();
  }

  const std::optional<Executable> padded_;
  const Executable& in_;
  const AxisRequest& request_;
  std::vector<plan::Sharding>* const tiles_;
  const std::map<int32_t, std::vector<OpRule>>* const like_;
  const int32_t mesh_;
  const plan::MeshProgram& list_;
  const MeshAxis axis_;
  std::vector<ValueState> slots_;   // one entry per slot
  std::vector<bool> settled_;        // one entry per slot: whether its state can no longer change
  std::map<SlotId, double> fills_;
  std::map<int32_t, Propagation> found_;  // key: program number; value: result of the last round
  std::map<int32_t, Propagation> along_;  // key: program number; value: result with `reduce_scatter_along` cuts
  std::map<int32_t, std::vector<plan::ValuePin>> pins_;  // key: program number
  bool changed_ = false;
  Executable out_;
};

absl::Status CheckRequest(const Executable& executable, const AxisRequest& request) {
  if (!request.mesh.valid() || request.mesh.value() >= static_cast<int32_t>(executable.meshes.size())) {
    return InvalidArgument("axis \"%s\" names mesh %d, but there are %d meshes", request.name, request.mesh.value(),
                           executable.meshes.size());
  }
  if (request.size < 1) {
    return InvalidArgument("axis \"%s\" has size %d; the size must be at least 1", request.name, request.size);
  }
  return absl::OkStatus();
}

bool SameRules(const AxisStates& states, const std::map<int32_t, std::vector<OpRule>>& rules,
               const Executable& executable) {
  for (const auto& [program, found] : states.programs) {
    const std::vector<graph::Op>& ops = executable.programs[program].graph.ops();
    for (size_t i = 0; i < ops.size(); ++i) {
      if (ops[i].opcode != graph::Opcode::kParameter && found.rules[i] != rules.at(program)[i]) return false;
    }
  }
  return true;
}

// Returns a pin for every op. An op that handles its operands separately gets one pin per result.
std::vector<plan::ValuePin> AllPins(const Executable& executable, const std::map<int32_t, std::vector<OpRule>>& rules) {
  std::vector<plan::ValuePin> pins;
  for (const auto& [program, of_ops] : rules) {
    const std::vector<graph::Op>& ops = executable.programs[program].graph.ops();
    for (size_t i = 0; i < ops.size(); ++i) {
      if (ops[i].opcode == graph::Opcode::kParameter) continue;
      const bool in_parts = HandlesOperandsSeparately(ops[i]);
      for (size_t r = 0; r < (in_parts ? ops[i].results.size() : 1); ++r) {
        const std::vector<AxisState> part =
            in_parts ? std::vector<AxisState>{of_ops[i].operands[r]} : of_ops[i].operands;
        pins.push_back({program, ops[i].results[r].value(), of_ops[i].results[r], part});
      }
    }
  }
  return pins;
}

}  // namespace

bool AxisRequest::IsReserved(int32_t leaf, int64_t dim) const {
  return std::any_of(reserved.begin(), reserved.end(),
                     [&](const plan::Cut& cut) { return cut.leaf == leaf && cut.dim == dim; });
}

AxisRequest RequestFor(MeshId id, const cluster::Mesh& mesh, const plan::AxisCut& axis) {
  AxisRequest request{id, mesh.axis_names[axis.mesh_axis], mesh.shape[axis.mesh_axis], {}, axis.cuts,
                      axis.reduce_scatter_from, axis.shard_accumulators, axis.reduce_scatter_along, axis.pins, {}, {}};
  int64_t devices = 1;
  for (int64_t a = 0; a <= axis.mesh_axis; ++a) devices *= mesh.shape[a];
  request.devices.assign(mesh.devices.begin(), mesh.devices.begin() + devices);
  return request;
}

absl::StatusOr<Executable> CutAlongAxis(const Executable& executable, const AxisRequest& request,
                                        std::vector<plan::Sharding>* tiles) {
  ALPA_RETURN_IF_ERROR(CheckRequest(executable, request));
  return AxisPass(executable, request, tiles).Run();
}

Executable Padded(const Executable& executable, const AxisRequest& request) {
  if (!CheckRequest(executable, request).ok()) return executable;
  return AxisPass::PadIfNeeded(executable, request).value_or(executable);
}

absl::StatusOr<AxisStates> StatesAlongAxis(const Executable& executable, const AxisRequest& request) {
  ALPA_RETURN_IF_ERROR(CheckRequest(executable, request));
  return AxisPass(executable, request, nullptr).States();
}

absl::StatusOr<AxisDraft> DraftAlongAxis(const Executable& executable, const AxisRequest& request) {
  ALPA_RETURN_IF_ERROR(CheckRequest(executable, request));
  return AxisPass(executable, request, nullptr).Draft();
}

absl::StatusOr<AxisRequest> WithPins(const Executable& executable, AxisRequest request,
                                     const std::map<int32_t, std::vector<OpRule>>& rules) {
  ALPA_RETURN_IF_ERROR(CheckRequest(executable, request));
  request.pins.clear();
  ALPA_ASSIGN_OR_RETURN(const AxisStates like, AxisPass(executable, request, nullptr, &rules).States());
  for (const auto& [program, propagation] : like.programs) {
    for (plan::ValuePin pin : propagation.pins) {
      pin.program = program;
      request.pins.push_back(std::move(pin));
    }
  }
  ALPA_ASSIGN_OR_RETURN(const AxisStates states, StatesAlongAxis(executable, request));
  if (SameRules(states, rules, executable)) return request;
  // If only some ops are pinned, slots can settle in states that do not lead to `rules`. So pin all ops: only one
  // solution then remains.
  request.pins = AllPins(executable, rules);
  ALPA_ASSIGN_OR_RETURN(const AxisStates all, StatesAlongAxis(executable, request));
  if (!SameRules(all, rules, executable)) {
    return Internal("axis \"%s\": ops do not follow their pins, even if all ops are pinned", request.name);
  }
  return request;
}

}  // namespace alpa::planner
