#include "planner/stage/stage_pass.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <tuple>

#include "base/status.h"
#include "planner/lower/free_temporaries.h"
#include "planner/partition/axis_pass.h"
#include "planner/stage/cells.h"
#include "planner/stage/labels.h"
#include "planner/stage/linear_sums.h"
#include "planner/stage/runs.h"

namespace alpa::planner {

using plan::Executable;
using plan::Instruction;
using plan::Sharding;
using plan::Slot;
using plan::SlotId;

namespace {

// One entry per slot. Key: mesh; value: the number of cells of this mesh that read the slot.
using Readers = std::vector<std::map<int, int>>;

Readers ReadersOf(const Cells& cells, const StageRequest& request) {
  Readers readers(cells.slot_mesh.size());
  for (const ProgramRun& run : RunsOf(cells.executable)) {
    const int mesh = request.mesh_of_stage[cells.cells[run.run.program].stage];
    for (SlotId slot : run.run.inputs) {
      if (slot.valid()) ++readers[slot.value()][mesh];
    }
  }
  return readers;
}

// Returns one entry per slot: whether a mesh other than the slot's own mesh reads it.
std::vector<bool> Exchanged(const Cells& cells, const Readers& readers) {
  std::vector<bool> exchanged;
  for (size_t s = 0; s < readers.size(); ++s) {
    exchanged.push_back(readers[s].size() > (readers[s].contains(cells.slot_mesh[s]) ? 1 : 0));
  }
  return exchanged;
}

// A mesh variant: the cells of all stages, cut along the axes of one kind of mesh.
struct Version {
  Executable executable;
  std::vector<Sharding> tiles;   // one entry per slot
};

class Assembly {
 public:
  Assembly(const Cells& cells, const StageRequest& request, const Readers& readers,
           const std::vector<const Version*>& versions)
      : cells_(cells), slots_(cells.executable.mesh_programs[0].slots), request_(request), readers_(readers),
        versions_(versions), in_ring_(slots_.size(), false) {}

  Executable Run() {
    out_.meshes = request_.meshes;
    out_.mesh_programs.resize(request_.meshes.size());
    PlaceLeaves();
    TakePrograms();
    FindRing(cells_.executable.mesh_programs[0].instructions, false);
    for (size_t s = 0; s < slots_.size(); ++s) {
      const bool given = slots_[s].kind == Slot::Kind::kState || slots_[s].kind == Slot::Kind::kInput;
      if (given) SendToReaders(static_cast<int>(s), kOnce);
    }
    for (const Instruction& instruction : cells_.executable.mesh_programs[0].instructions) {
      if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
        Issue(*run, kOnce);
        SendResults(*run, kOnce);
      } else if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
        Unroll(*loop);
      } else if (const auto* alloc = std::get_if<plan::AllocInstruction>(&instruction.action)) {
        const int mesh = cells_.slot_mesh[alloc->slot.value()];
        List(mesh).push_back({plan::AllocInstruction{SlotOn(mesh, alloc->slot.value(), kOnce), alloc->fill}});
      }
    }
    for (plan::MeshProgram& list : out_.mesh_programs) FreeTemporaries(list);
    return std::move(out_);
  }

 private:
  static constexpr int64_t kOnce = -1;  // stands in for a microbatch if the value has only one instance

  int MeshOf(const plan::RunInstruction& run) const { return request_.mesh_of_stage[cells_.cells[run.program].stage]; }
  std::vector<Instruction>& List(int mesh) { return out_.mesh_programs[mesh].instructions; }

  void PlaceLeaves() {
    const Executable& in = cells_.executable;
    out_.input_is_state = in.input_is_state;
    out_.inputs = in.inputs;
    out_.outputs = in.outputs;
    for (size_t s = 0; s < slots_.size(); ++s) {
      const Slot& slot = slots_[s];
      if (slot.kind == Slot::Kind::kTemporary) continue;
      const int mesh = cells_.slot_mesh[s];
      const bool aux = slot.kind == Slot::Kind::kAux;
      const Executable& version = versions_[mesh]->executable;
      plan::RegionPlacement& region = (aux ? out_.outputs : out_.inputs)[slot.leaf].regions[slot.region];
      region.mesh = MeshId(mesh);
      region.sharding = (aux ? version.outputs : version.inputs)[slot.leaf].regions[slot.region].sharding;
      SlotOn(mesh, static_cast<int>(s), kOnce);
    }
  }

  void TakePrograms() {
    for (size_t c = 0; c < cells_.cells.size(); ++c) {
      const int mesh = request_.mesh_of_stage[cells_.cells[c].stage];
      out_.programs.push_back(versions_[mesh]->executable.programs[c]);
      out_.programs.back().mesh = MeshId(mesh);
    }
  }

  // Finds the slots of which each microbatch has its own instance.
  void FindRing(const std::vector<Instruction>& instructions, bool in_loop) {
    for (const Instruction& instruction : instructions) {
      if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) FindRing(loop->body, true);
      if (const auto* alloc = std::get_if<plan::AllocInstruction>(&instruction.action)) {
        accumulators_.insert(alloc->slot);
      }
      const auto* run = std::get_if<plan::RunInstruction>(&instruction.action);
      if (run == nullptr) continue;
      for (SlotId slot : run->outputs) {
        const bool carried = accumulators_.contains(slot) || slots_[slot.value()].kind != Slot::Kind::kTemporary;
        if (in_loop && !carried) in_ring_[slot.value()] = true;
      }
    }
  }

  // ---- Slots of the meshes ----

  // Slots are numbered twice: for the cells, and for each mesh that holds them. Returns the number on `mesh` of the
  // cells' slot `s`. If each microbatch has its own copy of the slot, returns the copy of microbatch `m`.
  SlotId SlotOn(int mesh, int s, int64_t m) {
    if (!in_ring_[s]) return Instance(mesh, s, 0);
    const auto key = std::tuple(mesh, s, m);
    auto held = held_.find(key);
    if (held == held_.end()) {
      std::vector<int>& free = free_[{mesh, s}];
      int instance = made_[{mesh, s}];
      if (free.empty()) {
        ++made_[{mesh, s}];
      } else {
        instance = free.back();
        free.pop_back();
      }
      int uses = 0;
      if (const auto here = readers_[s].find(mesh); here != readers_[s].end()) uses += here->second;
      if (mesh == cells_.slot_mesh[s]) {
        uses += static_cast<int>(readers_[s].size()) - (readers_[s].contains(mesh) ? 1 : 0);
      }
      held = held_.emplace(key, Held{instance, uses}).first;
    }
    return Instance(mesh, s, held->second.instance);
  }

  void Used(int mesh, int s, int64_t m) {
    if (!in_ring_[s]) return;
    const auto held = held_.find({mesh, s, m});
    ALPA_CHECK(held != held_.end());
    if (--held->second.uses > 0) return;
    free_[{mesh, s}].push_back(held->second.instance);
    held_.erase(held);
  }

  SlotId Instance(int mesh, int s, int instance) {
    auto [it, added] = slot_ids_.try_emplace(std::tuple(mesh, s, instance));
    if (added) {
      std::vector<Slot>& slots = out_.mesh_programs[mesh].slots;
      it->second = SlotId(static_cast<int32_t>(slots.size()));
      Slot slot = versions_[mesh]->executable.mesh_programs[0].slots[s];
      if (mesh != cells_.slot_mesh[s]) slot.kind = Slot::Kind::kTemporary;
      if (slot.kind == Slot::Kind::kTemporary) slot.leaf = -1, slot.region = 0;
      slots.push_back(std::move(slot));
    }
    return it->second;
  }

  // ---- Instruction lists of the meshes ----

  void Issue(const plan::RunInstruction& cell, int64_t m) {
    const int mesh = MeshOf(cell);
    plan::RunInstruction run;
    run.program = cell.program;
    run.index = static_cast<int32_t>(m);
    for (SlotId slot : cell.inputs) run.inputs.push_back(slot.valid() ? SlotOn(mesh, slot.value(), m) : SlotId());
    for (SlotId slot : cell.outputs) run.outputs.push_back(SlotOn(mesh, slot.value(), m));
    List(mesh).push_back({std::move(run)});
    for (SlotId slot : cell.inputs) {
      if (slot.valid()) Used(mesh, slot.value(), m);
    }
  }

  void SendResults(const plan::RunInstruction& cell, int64_t m) {
    for (SlotId slot : cell.outputs) {
      if (slots_[slot.value()].kind != Slot::Kind::kTemporary) continue;
      if (m == kOnce || in_ring_[slot.value()]) SendToReaders(slot.value(), m);
    }
  }

  void SendToReaders(int s, int64_t m) {
    const int from = cells_.slot_mesh[s];
    for (const auto& [to, count] : readers_[s]) {
      if (to == from) continue;
      auto [edge, added] = edges_.try_emplace({s, to}, static_cast<int32_t>(out_.edges.size()));
      if (added) {
        out_.edges.push_back(
            {slots_[s].shape, MeshId(from), MeshId(to), versions_[from]->tiles[s], versions_[to]->tiles[s]});
      }
      List(from).push_back({plan::SendInstruction{SlotOn(from, s, m), edge->second}});
      Used(from, s, m);
      List(to).push_back({plan::RecvInstruction{SlotOn(to, s, m), edge->second}});
    }
  }

  void Unroll(const plan::LoopInstruction& loop) {
    std::vector<const plan::RunInstruction*> runs;
    std::vector<ScheduledCell> scheduled;
    std::map<SlotId, int> writer;
    for (const Instruction& instruction : loop.body) {
      const auto& run = std::get<plan::RunInstruction>(instruction.action);
      const Cell& cell = cells_.cells[run.program];
      ScheduledCell entry{MeshOf(run), cell.stage, cell.pass, 0, {}};
      entry.seconds = cell.work / static_cast<double>(request_.meshes[entry.mesh].size());
      for (SlotId slot : run.inputs) {
        if (const auto found = writer.find(slot); slot.valid() && in_ring_[slot.value()] && found != writer.end()) {
          entry.needs.push_back(found->second);
        }
      }
      for (SlotId slot : run.outputs) writer[slot] = static_cast<int>(runs.size());
      runs.push_back(&run);
      scheduled.push_back(std::move(entry));
    }
    const int stages = static_cast<int>(request_.mesh_of_stage.size());
    for (const ScheduledEvent& event : OrderCells(request_.schedule, scheduled, stages, loop.count)) {
      if (event.done) SendResults(*runs[event.cell], event.microbatch);
      else Issue(*runs[event.cell], event.microbatch);
    }
  }

  struct Held {
    int instance = 0;
    int uses = 0;    // the number of reads and sends that are still to come
  };

  const Cells& cells_;
  const std::vector<Slot>& slots_;
  const StageRequest& request_;
  const Readers& readers_;
  const std::vector<const Version*>& versions_;   // one entry per mesh
  std::vector<bool> in_ring_;                     // one entry per slot: whether each microbatch has its own instance
  std::set<SlotId> accumulators_;
  std::map<std::tuple<int, int, int64_t>, Held> held_;
  std::map<std::pair<int, int>, std::vector<int>> free_;
  std::map<std::pair<int, int>, int> made_;
  std::map<std::tuple<int, int, int>, SlotId> slot_ids_;
  std::map<std::pair<int, int>, int32_t> edges_;
  Executable out_;
};

absl::StatusOr<Version> CutFor(const Cells& cells, const cluster::Mesh& mesh, const std::vector<plan::AxisCut>& axes,
                               const std::vector<bool>& exchanged) {
  Version version{cells.executable, std::vector<Sharding>(cells.slot_mesh.size())};
  for (const plan::AxisCut& axis : axes) {
    AxisRequest request = RequestFor(MeshId(0), mesh, axis);
    request.exchanged = exchanged;
    ALPA_ASSIGN_OR_RETURN(version.executable, CutAlongAxis(version.executable, request, &version.tiles));
  }
  return version;
}

}  // namespace

absl::StatusOr<Executable> AssembleStages(const Executable& executable, Labels labels, const StageRequest& request) {
  Executable split = executable;
  SplitSums(split, labels);
  LabelRest(split, labels);
  const Cells cells = SplitIntoCells(split, labels, {request.mesh_of_stage, request.schedule == Schedule::kZeroBubble,
                                                     request.remat == plan::Remat::kLayer});
  const Readers readers = ReadersOf(cells, request);
  const std::vector<bool> exchanged = Exchanged(cells, readers);
  std::vector<std::unique_ptr<Version>> made;
  std::vector<const Version*> versions;
  for (size_t m = 0; m < request.meshes.size(); ++m) {
    const Version* known = nullptr;
    for (size_t other = 0; other < m && known == nullptr; ++other) {
      if (request.meshes[other].shape == request.meshes[m].shape && request.axes[other] == request.axes[m]) {
        known = versions[other];
      }
    }
    if (known == nullptr) {
      ALPA_ASSIGN_OR_RETURN(Version version, CutFor(cells, request.meshes[m], request.axes[m], exchanged));
      known = made.emplace_back(std::make_unique<Version>(std::move(version))).get();
    }
    versions.push_back(known);
  }
  return Assembly(cells, request, readers, versions).Run();
}

absl::StatusOr<Staged> CutIntoStages(const Executable& executable, const StageRequest& request) {
  LabelRequest wanted;
  wanted.cuts = request.cuts;
  // Stages on the same mesh divide its time equally.
  for (int mesh : request.mesh_of_stage) {
    const auto sharing = std::count(request.mesh_of_stage.begin(), request.mesh_of_stage.end(), mesh);
    const double share = request.shares.empty() ? 1 : request.shares[mesh];
    wanted.shares.push_back(share * static_cast<double>(request.meshes[mesh].size()) / static_cast<double>(sharing));
  }
  ALPA_ASSIGN_OR_RETURN(const Labels labels, LabelLoops(executable, wanted));
  ALPA_ASSIGN_OR_RETURN(Executable staged, AssembleStages(executable, labels, request));
  return Staged{std::move(staged), labels.cuts};
}

}  // namespace alpa::planner
