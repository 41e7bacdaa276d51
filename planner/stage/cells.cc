#include "planner/stage/cells.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/builder.h"
#include "graph/cost.h"
#include "graph/simplify.h"
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

// In Cell::work, each byte that an op reads or writes counts as this number of FLOPs.
constexpr double kFlopsPerByte = 2;

// Splits one program.
class ProgramSplitter {
 public:
  // `slot_stage`: one entry per slot, the stage from the label of the slot. Split() updates the entries of the slots
  // that the cells write.
  ProgramSplitter(const Executable& in, const Labels& labels, const CellRequest& request, const ProgramRun& run,
                  Cells& out, std::vector<int>& slot_stage)
      : in_(in), run_(run), program_(in.programs[run.run.program].graph), request_(request), out_(out),
        recomputed_(RecomputedAtReaders()), sources_(FindSources()), op_stage_(labels.op_stage[run.run.program]),
        backward_(labels.backward[run.run.program]), layer_(labels.layer[run.run.program]), slot_stage_(slot_stage),
        needed_(program_.ops().size(), false), round_(program_.ops().size(), -1), slot_of_(program_.values().size()),
        read_elsewhere_(program_.values().size(), false) {}

  // Returns the RUN instructions of the cells, in order.
  std::vector<Instruction> Split() {
    FindForwarded();
    FindRecomputable();
    PlaceResults();
    FindNeeded();
    FindRounds();
    std::set<std::pair<int, int>> cells;  // (round, stage)
    for (size_t i = 0; i < needed_.size(); ++i) {
      if (needed_[i]) cells.insert({round_[i], StageOf(i)});
    }
    for (size_t r = 0; r < results_.size(); ++r) {
      if (!Unchanged(r)) cells.insert({results_[r].round, results_[r].stage});
    }
    std::vector<Instruction> instructions;
    for (const auto& [round, stage] : cells) {
      plan::RunInstruction run = Emit(round, stage);
      // A cell has no program if other cells recompute all its values.
      if (run.program >= 0) instructions.push_back({std::move(run)});
    }
    return instructions;
  }

 private:
  struct Result {
    int stage = 0;
    int round = 0;
  };

  int DefOf(ValueId v) const { return program_.value(v).op.value(); }

  // Finds the values that every reader recomputes. These values include broadcasts, because cells exchange the smaller
  // operand instead.
  std::vector<bool> RecomputedAtReaders() const {
    std::vector<bool> recomputed = RecomputedEverywhere(in_, run_);
    for (const Op& op : program_.ops()) {
      if (op.opcode != Opcode::kBroadcast) continue;
      if (program_.shape(op.operands[0]).elements() < program_.shape(op.results[0]).elements()) {
        recomputed[op.results[0].value()] = true;
      }
    }
    return recomputed;
  }

  // Returns the sources of each value. The source of a value that readers do not recompute is the value itself. The
  // sources of a recomputed value are the sources of its operands.
  std::vector<std::vector<ValueId>> FindSources() const {
    std::vector<std::vector<ValueId>> sources(program_.values().size());
    for (const Op& op : program_.ops()) {
      for (ValueId v : op.results) {
        std::vector<ValueId>& own = sources[v.value()];
        if (!recomputed_[v.value()]) {
          own = {v};
          continue;
        }
        for (ValueId operand : op.operands) {
          const std::vector<ValueId>& theirs = sources[operand.value()];
          own.insert(own.end(), theirs.begin(), theirs.end());
        }
        std::sort(own.begin(), own.end());
        own.erase(std::unique(own.begin(), own.end()), own.end());
      }
    }
    return sources;
  }

  // Calls `visit` for every source of `v` that a cell computes.
  template <typename Visit>
  void VisitSources(ValueId v, const Visit& visit) const {
    for (ValueId source : sources_[v.value()]) {
      if (Computed(source)) visit(source);
    }
  }
  // Returns the stage that represents `stage`. Outside loops, the first stage of a mesh represents all its stages.
  int Canonical(int stage) const {
    if (run_.in_loop) return stage;
    for (int s = 0; s < stage; ++s) {
      if (request_.mesh_of_stage[s] == request_.mesh_of_stage[stage]) return s;
    }
    return stage;
  }
  int StageOf(size_t op) const {
    const Op& def = program_.ops()[op];
    if (def.opcode == Opcode::kParameter) {
      if (const SlotId slot = GivenSlot(def.results[0]); slot.valid()) return Canonical(slot_stage_[slot.value()]);
    }
    return Canonical(op_stage_[op]);
  }
  // Returns whether a cell computes (or forwards) the value. The other values are given in slots or recomputed by
  // readers.
  bool Computed(ValueId v) const {
    return !recomputed_[v.value()] && (program_.def(v).opcode != Opcode::kParameter || forwarded_[v.value()]);
  }
  SlotId GivenSlot(ValueId v) const {
    const Op& op = program_.def(v);
    return op.opcode == Opcode::kParameter ? run_.run.inputs[op.as<graph::ParameterAttrs>().index] : SlotId();
  }
  // Returns whether result `r` is the unchanged content of its slot.
  bool Unchanged(size_t r) const { return GivenSlot(program_.results()[r]) == run_.run.outputs[r]; }

  // Finds the temporaries that other stages read after the loop, such as accumulators. Such a temporary may be a
  // partial sum over the devices of its mesh, which must be reduced before another mesh can read it. Therefore, a
  // separate cell forwards the temporary.
  void FindForwarded() {
    forwarded_.assign(program_.values().size(), false);
    if (run_.in_loop) return;
    const auto read = [&](ValueId v, int stage) {
      for (ValueId source : sources_[v.value()]) {
        const SlotId slot = GivenSlot(source);
        if (!slot.valid() || in_.mesh_programs[0].slots[slot.value()].kind != Slot::Kind::kTemporary) continue;
        if (Canonical(slot_stage_[slot.value()]) != stage) forwarded_[source.value()] = true;
      }
    };
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      if (program_.ops()[i].opcode == Opcode::kParameter) continue;
      if (recomputed_[program_.ops()[i].results[0].value()]) continue;
      for (ValueId v : program_.ops()[i].operands) read(v, StageOf(i));
    }
    for (size_t r = 0; r < run_.run.outputs.size(); ++r) {
      read(program_.results()[r], Canonical(std::max(0, slot_stage_[run_.run.outputs[r].value()])));
    }
  }

  // Finds the values of a layer's forward that only this layer's forward and the backward read.
  void FindRecomputable() {
    recomputable_.assign(program_.values().size(), false);
    if (!request_.recompute_layers || !run_.in_loop) return;
    last_layer_ = *std::max_element(layer_.begin(), layer_.end());
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      if (!InForward(i)) continue;
      for (ValueId v : program_.ops()[i].results) recomputable_[v.value()] = true;
    }
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      if (layer_[i] < 0) continue;
      for (ValueId v : program_.ops()[i].operands) {
        for (ValueId source : sources_[v.value()]) {
          if (layer_[DefOf(source)] != layer_[i]) recomputable_[source.value()] = false;
        }
      }
    }
    for (ValueId v : program_.results()) recomputable_[v.value()] = false;
  }
  bool InForward(size_t op) const { return layer_[op] >= 0 && layer_[op] < last_layer_; }

  void PlaceResults() {
    for (size_t r = 0; r < run_.run.outputs.size(); ++r) {
      const SlotId slot = run_.run.outputs[r];
      const ValueId v = program_.results()[r];
      const bool fixed = in_.mesh_programs[0].slots[slot.value()].kind == Slot::Kind::kState || !Computed(v);
      const int stage = Canonical(fixed ? slot_stage_[slot.value()] : op_stage_[DefOf(v)]);
      results_.push_back({stage, 0});
    }
  }

  void FindNeeded() {
    for (ValueId v : program_.results()) needed_[DefOf(v)] = true;
    for (size_t i = needed_.size(); i-- > 0;) {
      if (!needed_[i]) continue;
      for (ValueId v : program_.ops()[i].operands) needed_[DefOf(v)] = true;
    }
    for (size_t i = 0; i < needed_.size(); ++i) {
      const Op& op = program_.ops()[i];
      if (op.results.empty() || !Computed(op.results[0])) needed_[i] = false;
    }
  }

  void FindRounds() {
    // First, give each op the earliest possible round (cells.h).
    int last = 0;
    std::map<int, int> last_of_stage;
    auto note = [&](int stage, int round) {
      last = std::max(last, round);
      last_of_stage[stage] = std::max(last_of_stage[stage], round);
    };
    // Returns the minimum number of rounds between op `def` and an op of `stage` that reads its result.
    const auto apart = [&](int def, int stage, bool backward) {
      return StageOf(def) != stage || (request_.recompute_layers && run_.in_loop && backward && InForward(def)) ? 1 : 0;
    };
    auto after = [&](ValueId v, int stage, bool backward) {
      int round = 0;
      VisitSources(v, [&](ValueId source) {
        round = std::max(round, round_[DefOf(source)] + apart(DefOf(source), stage, backward));
      });
      return round;
    };
    for (size_t i = 0; i < needed_.size(); ++i) {
      if (!needed_[i]) continue;
      int round = 0;
      for (ValueId v : program_.ops()[i].operands) round = std::max(round, after(v, StageOf(i), backward_[i]));
      round_[i] = round;
      note(StageOf(i), round);
    }
    for (size_t r = 0; r < results_.size(); ++r) {
      if (!Unchanged(r)) note(results_[r].stage, after(program_.results()[r], results_[r].stage, false));
    }
    // After that, move each op to its latest possible round. Results are written in the last round of their stage. No
    // op of the stage runs in a later round. Therefore, every op has read its operands before a result overwrites them.
    std::vector<int> latest(needed_.size(), last + 1);
    for (size_t i = 0; i < needed_.size() && !run_.in_loop; ++i) {
      if (needed_[i]) latest[i] = last_of_stage[StageOf(i)];
    }
    auto before = [&](ValueId v, int stage, bool backward, int round) {
      VisitSources(v, [&](ValueId source) {
        const int def = DefOf(source);
        const bool given = program_.ops()[def].opcode == Opcode::kParameter;
        if (!given || StageOf(def) != stage) latest[def] = std::min(latest[def], round - apart(def, stage, backward));
      });
    };
    const bool split = request_.split_weights && run_.in_loop;
    for (size_t r = 0; r < results_.size(); ++r) {
      Result& result = results_[r];
      const ValueId v = program_.results()[r];
      result.round = split && backward_[DefOf(v)] ? last + 1 : last_of_stage[result.stage];
      before(v, result.stage, false, result.round);
    }
    for (size_t i = needed_.size(); i-- > 0;) {
      if (!needed_[i]) continue;
      round_[i] = latest[i];
      for (ValueId v : program_.ops()[i].operands) before(v, StageOf(i), backward_[i], round_[i]);
    }
    weights_round_ = split ? last + 1 : -1;
    first_backward_ = last + 2;
    for (size_t i = 0; i < needed_.size(); ++i) {
      if (!needed_[i] || !backward_[i]) continue;
      first_backward_ = std::min(first_backward_, round_[i]);
      backward_cells_.insert({round_[i], StageOf(i)});
    }
    for (size_t i = 0; i < needed_.size(); ++i) {
      if (!needed_[i]) continue;
      for (ValueId v : program_.ops()[i].operands) MarkElsewhere(v, round_[i], StageOf(i));
    }
    for (size_t r = 0; r < results_.size(); ++r) {
      MarkElsewhere(program_.results()[r], results_[r].round, results_[r].stage);
    }
  }

  // Marks the values that must cross from another cell into the cell of `stage` in `round`, which reads `wanted`. A
  // given slot is available in all rounds of its stage.
  void MarkElsewhere(ValueId wanted, int round, int stage) {
    std::vector<ValueId> next = {wanted};
    while (!next.empty()) {
      const ValueId v = next.back();
      next.pop_back();
      VisitSources(v, [&](ValueId source) {
        if (Recomputes(source, round, stage)) {
          if (!recomputes_.insert({source, round, stage}).second) return;
          const Op& op = program_.def(source);
          next.insert(next.end(), op.operands.begin(), op.operands.end());
          return;
        }
        const bool given = program_.def(source).opcode == Opcode::kParameter;
        if (StageOf(DefOf(source)) != stage || (round_[DefOf(source)] != round && !given)) {
          read_elsewhere_[source.value()] = true;
        }
      });
    }
  }
  // Returns whether the cell of `stage` in `round` recomputes the value instead of reading it from the stage's forward.
  bool Recomputes(ValueId v, int round, int stage) const {
    return recomputable_[v.value()] && StageOf(DefOf(v)) == stage && round_[DefOf(v)] < round &&
           backward_cells_.contains({round, stage}) && !backward_cells_.contains({round_[DefOf(v)], stage});
  }

  plan::RunInstruction Emit(int round, int stage) {
    GraphBuilder builder;
    plan::RunInstruction run;
    std::map<ValueId, ValueId> here;
    std::map<SlotId, ValueId> imported;
    double work = 0;
    auto import = [&](SlotId slot, const graph::Shape& shape) {
      auto [it, added] = imported.try_emplace(slot);
      if (added) {
        it->second = builder.Parameter(shape);
        run.inputs.push_back(slot);
      }
      return it->second;
    };
    auto clone = [&](const Op& op) {
      std::vector<ValueId> operands;
      for (ValueId v : op.operands) operands.push_back(here.at(v));
      const std::vector<ValueId> results = builder.Clone(program_, op, std::move(operands));
      for (size_t r = 0; r < results.size(); ++r) here[op.results[r]] = results[r];
      const graph::OpCost cost = graph::CostOf(program_, op);
      work += static_cast<double>(cost.flops) +
              kFlopsPerByte * static_cast<double>(cost.bytes_read + cost.bytes_written);
    };
    // Returns the value in this cell. The cell imports it, or recomputes it together with its operands.
    auto get = [&](ValueId wanted) {
      std::set<int> anew;  // ops, ordered so that operands come first
      std::vector<ValueId> next = {wanted};
      while (!next.empty()) {
        const ValueId v = next.back();
        next.pop_back();
        if (here.contains(v)) continue;
        const Op& op = program_.def(v);
        if (op.opcode == Opcode::kParameter && (!forwarded_[v.value()] || StageOf(DefOf(v)) == stage)) {
          here[v] = import(GivenSlot(v), program_.shape(v));
        } else if (recomputed_[v.value()] || (Computed(v) && Recomputes(v, round, stage))) {
          if (anew.insert(DefOf(v)).second) next.insert(next.end(), op.operands.begin(), op.operands.end());
        } else {
          here[v] = import(slot_of_[v.value()], program_.shape(v));
        }
      }
      for (int op : anew) clone(program_.ops()[op]);
      return here.at(wanted);
    };
    for (size_t i = 0; i < needed_.size(); ++i) {
      if (!needed_[i] || round_[i] != round || StageOf(i) != stage) continue;
      const Op& op = program_.ops()[i];
      if (op.opcode == Opcode::kParameter) {
        get(op.results[0]);
        continue;
      }
      for (ValueId v : op.operands) get(v);
      clone(op);
    }
    std::vector<ValueId> results;
    for (size_t r = 0; r < results_.size(); ++r) {
      if (Unchanged(r) || results_[r].round != round || results_[r].stage != stage) continue;
      run.outputs.push_back(run_.run.outputs[r]);
      results.push_back(get(program_.results()[r]));
      slot_stage_[run_.run.outputs[r].value()] = stage;
      out_.slot_mesh[run_.run.outputs[r].value()] = request_.mesh_of_stage[stage];
    }
    for (size_t i = 0; i < needed_.size(); ++i) {
      if (!needed_[i] || round_[i] != round || StageOf(i) != stage) continue;
      for (ValueId v : program_.ops()[i].results) {
        if (!read_elsewhere_[v.value()]) continue;
        std::vector<Slot>& slots = out_.executable.mesh_programs[0].slots;
        slot_of_[v.value()] = SlotId(static_cast<int32_t>(slots.size()));
        slots.push_back({Slot::Kind::kTemporary, program_.shape(v), -1, 0});
        out_.slot_mesh.push_back(request_.mesh_of_stage[stage]);
        run.outputs.push_back(slot_of_[v.value()]);
        results.push_back(here.at(v));
      }
    }
    if (results.empty()) return run;
    builder.SetResults(results);
    Cell cell{stage, round, run_.in_loop, Cell::Pass::kForward, work};
    if (round == weights_round_) cell.pass = Cell::Pass::kWeights;
    else if (run_.in_loop && round >= first_backward_) cell.pass = Cell::Pass::kBackward;
    const char* kinds[] = {"forward", "backward", "weights"};
    const std::string& whole = in_.programs[run_.run.program].name;
    std::string name = run_.in_loop ? absl::StrCat(whole, ", ", kinds[static_cast<int>(cell.pass)], " of stage ", stage)
                                    : absl::StrCat(whole, " of stage ", stage);
    if (!names_seen_.insert(name).second) name = absl::StrCat(name, ", round ", round);
    std::vector<int32_t> alias;
    for (SlotId slot : run.outputs) {
      const auto input = std::find(run.inputs.begin(), run.inputs.end(), slot);
      alias.push_back(input == run.inputs.end() ? -1 : static_cast<int32_t>(input - run.inputs.begin()));
    }
    run.program = static_cast<int32_t>(out_.executable.programs.size());
    out_.executable.programs.push_back(
        {std::move(name), MeshId(0), graph::Simplify(builder.Build()), std::move(alias)});
    out_.cells.push_back(cell);
    return run;
  }

  const Executable& in_;
  const ProgramRun& run_;
  const Graph& program_;
  const CellRequest& request_;
  Cells& out_;
  const std::vector<bool> recomputed_;
  const std::vector<std::vector<ValueId>> sources_;
  const std::vector<int>& op_stage_;
  const std::vector<bool>& backward_;
  const std::vector<int>& layer_;
  std::vector<int>& slot_stage_;
  std::vector<bool> forwarded_;      // one entry per value: a parameter that a cell forwards to other stages
  std::vector<bool> needed_;         // one entry per op
  std::vector<int> round_;           // one entry per op
  std::vector<Result> results_;
  std::vector<SlotId> slot_of_;      // one entry per value: the slot that its cell writes
  std::vector<bool> read_elsewhere_; // one entry per value: whether a cell other than its own reads it
  std::vector<bool> recomputable_;   // one entry per value
  std::set<std::tuple<ValueId, int, int>> recomputes_;     // value, round, stage
  std::set<std::pair<int, int>> backward_cells_;           // round, stage
  int last_layer_ = -1;
  int weights_round_ = -1, first_backward_ = 0;
  std::set<std::string> names_seen_;
};

}  // namespace

Cells SplitIntoCells(const Executable& executable, const Labels& labels, const CellRequest& request) {
  Cells out;
  out.executable = executable;
  out.executable.programs.clear();
  std::vector<int> slot_stage = labels.slot_stage;
  for (int stage : slot_stage) out.slot_mesh.push_back(request.mesh_of_stage[stage]);
  const std::vector<ProgramRun> runs = RunsOf(executable);
  size_t next = 0;
  std::vector<Instruction> instructions;
  for (const Instruction& instruction : executable.mesh_programs[0].instructions) {
    if (std::holds_alternative<plan::RunInstruction>(instruction.action)) {
      for (Instruction& cell : ProgramSplitter(executable, labels, request, runs[next++], out, slot_stage).Split()) {
        instructions.push_back(std::move(cell));
      }
    } else if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
      plan::LoopInstruction pieces{loop->count, {}};
      for (const Instruction& inner : loop->body) {
        if (!std::holds_alternative<plan::RunInstruction>(inner.action)) continue;
        for (Instruction& cell : ProgramSplitter(executable, labels, request, runs[next++], out, slot_stage).Split()) {
          pieces.body.push_back(std::move(cell));
        }
      }
      instructions.push_back({std::move(pieces)});
    } else {
      instructions.push_back(instruction);
    }
  }
  out.executable.mesh_programs[0].instructions = std::move(instructions);
  return out;
}

}  // namespace alpa::planner
