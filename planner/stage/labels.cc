#include "planner/stage/labels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "base/status.h"
#include "graph/cost.h"
#include "planner/stage/choose_stage_cuts.h"
#include "planner/stage/linear_sums.h"
#include "planner/stage/runs.h"

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using plan::Executable;
using plan::kMaxStages;
using plan::Slot;

namespace {

// A set of stages.
using Stages = uint64_t;
constexpr Stages Bit(int stage) { return Stages{1} << stage; }
int Lowest(Stages stages) { return std::countr_zero(stages); }
int HighestUpTo(Stages stages, int limit) {
  stages &= limit >= 63 ? ~Stages{0} : Bit(limit + 1) - 1;
  return stages == 0 ? -1 : 63 - std::countl_zero(stages);
}

double ProductWork(const Graph& graph) {
  double work = 0;
  for (const Op& op : graph.ops()) {
    work += graph::IsProduct(op.opcode) ? static_cast<double>(graph::CostOf(graph, op).flops) : 0;
  }
  return work;
}

// If a value is derived from more than `kMostKin` slots, it counts as related to none of these slots.
constexpr size_t kMostKin = 64;

// Holds the relations between slots. Two slots are kin if they have the same size and one is computed from the other
// element by element: a weight, its moments, its gradient.
class Kinship {
 public:
  explicit Kinship(const Executable& executable) : kin_(executable.mesh_programs[0].slots.size()) {
    for (const ProgramRun& run : RunsOf(executable)) {
      if (!run.in_loop) Visit(executable, run.run);
    }
  }
  const std::set<int>& Of(int slot) const { return kin_[slot]; }
  // Returns `slot`, its kin, their kin, and so on.
  std::set<int> All(int slot) const {
    std::set<int> seen = {slot};
    std::deque<int> next = {slot};
    for (; !next.empty(); next.pop_front()) {
      for (int other : kin_[next.front()]) {
        if (seen.insert(other).second) next.push_back(other);
      }
    }
    return seen;
  }

 private:
  void Visit(const Executable& executable, const plan::RunInstruction& run) {
    const Graph& program = executable.programs[run.program].graph;
    std::vector<std::set<int>> from(program.values().size());
    for (const Op& op : program.ops()) {
      if (op.opcode == Opcode::kParameter) {
        const plan::SlotId slot = run.inputs[op.as<graph::ParameterAttrs>().index];
        if (slot.valid()) from[op.results[0].value()].insert(slot.value());
        continue;
      }
      if (op.opcode == Opcode::kOptimizationBarrier) {
        for (size_t i = 0; i < op.operands.size(); ++i) from[op.results[i].value()] = from[op.operands[i].value()];
        continue;
      }
      const bool kept =
          graph::IsElementwise(op.opcode) || op.opcode == Opcode::kReshape || op.opcode == Opcode::kTranspose;
      if (!kept) continue;
      const int64_t size = program.shape(op.results[0]).elements();
      if (size == 1) continue;  // a scalar has no kin
      for (ValueId v : op.operands) {
        if (program.shape(v).elements() == size) {
          from[op.results[0].value()].insert(from[v.value()].begin(), from[v.value()].end());
        }
      }
      if (from[op.results[0].value()].size() > kMostKin) from[op.results[0].value()].clear();
    }
    for (size_t r = 0; r < run.outputs.size(); ++r) {
      const int to = run.outputs[r].value();
      for (int slot : from[program.results()[r].value()]) {
        if (slot == to) continue;
        kin_[slot].insert(to);
        kin_[to].insert(slot);
      }
    }
  }

  std::vector<std::set<int>> kin_;
};

// The maximum size of the table that holds, for each op, the gradients that depend on it. The unit is a word of 64
// bits, so this is 128 MiB.
constexpr size_t kMostWords = size_t{1} << 24;

// A layer may begin at an op if the live bytes there are at most `kThin` times the minimum.
constexpr double kThin = 1.25;

enum class Side : uint8_t { kOff, kForward, kRecomputed, kBackward };

// Labels one program of a loop (or the only program).
class RegionLabels {
 public:
  RegionLabels(const Executable& executable, const ProgramRun& run, const std::vector<uint8_t>& origins,
               const std::vector<bool>& gradient_slot, const Kinship& kinship, const LabelRequest& request, Labels& out)
      : executable_(executable), run_(run.run), program_(executable.programs[run.run.program].graph), origins_(origins),
        recomputed_(RecomputedEverywhere(executable, run)), gradient_slot_(gradient_slot), kinship_(kinship),
        request_(request), out_(out), stages_(static_cast<int>(request.shares.size())), uses_(graph::Uses(program_)),
        side_(program_.ops().size(), Side::kOff), stage_(program_.ops().size(), -1),
        readers_(program_.values().size(), 0), result_of_(program_.values().size(), 0) {
    for (ValueId v : program_.results()) result_of_[v.value()] = 1;
  }

  // Labels the region. Cuts its forward at the requested cuts. If no cuts are requested, cuts it at the cuts that
  // ChooseStageCuts returns.
  absl::Status LabelMain() {
    FindSides();
    std::vector<ForwardOp> forward = ForwardOps();
    std::vector<int64_t> cuts = request_.cuts;
    if (cuts.empty()) cuts = ChooseStageCuts(forward, request_.shares);
    if (static_cast<int>(cuts.size()) != stages_ - 1) {
      return FailedPrecondition(
          "the program cannot be cut into %d stages: there are %d stage cuts (required: the number of stages minus 1)",
          stages_, cuts.size());
    }
    for (size_t c = 0; c < cuts.size(); ++c) {
      if (cuts[c] <= (c == 0 ? 0 : cuts[c - 1]) || cuts[c] >= program_.size()) {
        return InvalidArgument(
            "stage %d begins at op %d of the region's %d ops; stage cuts must be increasing op indices", c + 1, cuts[c],
            program_.size());
      }
    }
    out_.cuts = cuts;
    for (const ForwardOp& op : forward) {
      stage_[op.index] = static_cast<int>(std::upper_bound(cuts.begin(), cuts.end(), op.index) - cuts.begin());
    }
    LabelOthers();
    FindLayers(forward);
    return absl::OkStatus();
  }

  // Numbers the layers of the forward. A layer begins at the first op of a stage, and at ops where few bytes are live.
  void FindLayers(const std::vector<ForwardOp>& forward) {
    std::vector<int>& layers = out_.layer[run_.program];
    layers.assign(program_.ops().size(), -1);
    double thinnest = std::numeric_limits<double>::infinity();
    for (size_t i = 1; i < forward.size(); ++i) thinnest = std::min(thinnest, forward[i].bytes_before);
    int layer = 0;
    bool worked = false;  // whether the current layer has a matrix product
    for (size_t i = 0; i < forward.size(); ++i) {
      const int64_t index = forward[i].index;
      const bool stage_begins = i > 0 && stage_[index] != stage_[forward[i - 1].index];
      if (i > 0 && (stage_begins || (worked && forward[i].bytes_before <= kThin * thinnest))) ++layer, worked = false;
      layers[index] = layer;
      worked = worked || graph::IsProduct(program_.ops()[index].opcode);
    }
  }

  // Labels a program other than that of the region: a forward op gets the stage of the weights that it reads.
  void LabelByLeaves() {
    FindSides();
    std::vector<int> home(program_.values().size(), -1);  // for a value off the main path: the stage of its leaf
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      const Op& op = program_.ops()[i];
      int stage = -1;
      if (op.opcode == Opcode::kParameter) {
        const plan::SlotId slot = run_.inputs[op.as<graph::ParameterAttrs>().index];
        if (slot.valid() && origins_[op.results[0].value()] == kFromState) stage = out_.slot_stage[slot.value()];
      }
      for (ValueId v : op.operands) {
        const int def = program_.value(v).op.value();
        stage = std::max(stage, side_[def] == Side::kOff ? home[v.value()] : stage_[def]);
      }
      if (side_[i] == Side::kOff) {
        for (ValueId v : op.results) home[v.value()] = stage;
      } else if (side_[i] == Side::kForward) {
        stage_[i] = std::max(stage, 0);
      }
    }
    LabelOthers();
  }

 private:
  bool Main(const Op& op) const {
    return op.opcode != Opcode::kParameter && !op.results.empty() &&
           origins_[op.results[0].value()] == (kFromState | kFromBatch) && !recomputed_[op.results[0].value()];
  }
  int DefOf(ValueId v) const { return program_.value(v).op.value(); }
  bool OffPath(ValueId v) const { return side_[DefOf(v)] == Side::kOff; }

  void FindSides() {
    // Number the gradients, and find the gradients to which each op leads.
    std::vector<ValueId> gradients;
    for (size_t r = 0; r < run_.outputs.size(); ++r) {
      if (!gradient_slot_[run_.outputs[r].value()]) continue;
      const ValueId added = AddedTo(program_, run_, r);
      for (ValueId part : LinearParts(program_, added.valid() ? added : program_.results()[r])) {
        if (Main(program_.def(part))) gradients.push_back(part);
      }
    }
    const size_t n = program_.ops().size();
    // If the table would be too large, use every second gradient, then every fourth, and so on. A subset of the
    // gradients classifies the ops equally well.
    while (gradients.size() > 64 && gradients.size() / 64 * n > kMostWords) {
      for (size_t g = 0; 2 * g < gradients.size(); ++g) gradients[g] = gradients[2 * g];
      gradients.resize((gradients.size() + 1) / 2);
    }
    const size_t words = (gradients.size() + 63) / 64;
    std::vector<std::vector<uint64_t>> leads(n, std::vector<uint64_t>(words, 0));
    for (size_t g = 0; g < gradients.size(); ++g) {
      leads[DefOf(gradients[g])][g / 64] |= uint64_t{1} << (g % 64);
    }
    for (size_t i = n; i-- > 0;) {
      for (ValueId v : program_.ops()[i].operands) {
        for (size_t w = 0; w < words; ++w) leads[DefOf(v)][w] |= leads[i][w];
      }
    }
    single_.assign(n, false);
    std::vector<bool> every(n, false);
    double forward = 0, all = 0;
    for (size_t i = 0; i < n; ++i) {
      size_t count = 0;
      for (uint64_t word : leads[i]) count += std::popcount(word);
      single_[i] = count == 1;
      every[i] = count == gradients.size();
      const Op& op = program_.ops()[i];
      if (!Main(op)) continue;
      const double work = static_cast<double>(graph::CostOf(program_, op).flops);
      all += work;
      if (every[i]) forward += work;
    }
    // If there are fewer than two gradients, or if less than 5 % of the FLOPs lead to all gradients, the program counts
    // as one forward chain.
    const bool chain = gradients.size() < 2 || forward < 0.05 * all;
    int peak = -1;
    for (size_t i = 0; i < n; ++i) {
      if (!Main(program_.ops()[i])) continue;
      side_[i] = chain || every[i] ? Side::kForward : Side::kRecomputed;
    }
    for (size_t i = 0; i < n; ++i) {
      if (side_[i] != Side::kRecomputed) continue;
      for (ValueId v : program_.ops()[i].operands) {
        if (side_[DefOf(v)] == Side::kForward) peak = std::max(peak, DefOf(v));
      }
    }
    for (size_t i = 0; i < n; ++i) {
      if (side_[i] != Side::kRecomputed) continue;
      for (ValueId v : program_.ops()[i].operands) {
        if (DefOf(v) == peak || side_[DefOf(v)] == Side::kBackward) side_[i] = Side::kBackward;
      }
    }
  }

  std::vector<ForwardOp> ForwardOps() const {
    std::vector<ForwardOp> forward;
    std::map<int64_t, double> change;  // key: op index; value: change in live bytes
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      if (side_[i] != Side::kForward) continue;
      const Op& op = program_.ops()[i];
      forward.push_back({static_cast<int64_t>(i), static_cast<double>(graph::CostOf(program_, op).flops), 0});
      for (ValueId v : op.results) {
        int64_t last = -1;
        for (graph::OpId use : uses_[v.value()]) {
          if (side_[use.value()] == Side::kForward) last = std::max<int64_t>(last, use.value());
        }
        if (last < 0) continue;
        change[static_cast<int64_t>(i) + 1] += static_cast<double>(program_.shape(v).bytes());
        change[last + 1] -= static_cast<double>(program_.shape(v).bytes());
      }
    }
    double alive = 0;
    auto next = change.begin();
    for (ForwardOp& op : forward) {
      for (; next != change.end() && next->first <= op.index; ++next) alive += next->second;
      op.bytes_before = alive;
    }
    return forward;
  }

  // Finds the stages whose forward reads an off-path value, directly or through other off-path values. If no forward
  // reads the value, takes the stages that read its operands. An example is the transpose of a weight that only the
  // backward reads.
  void FindReaders() {
    for (size_t i = program_.ops().size(); i-- > 0;) {
      const Op& op = program_.ops()[i];
      Stages stages = 0;
      if (side_[i] == Side::kForward) stages = Bit(stage_[i]);
      if (side_[i] == Side::kOff) {
        for (ValueId v : op.results) stages |= readers_[v.value()];
      }
      if (side_[i] == Side::kRecomputed || side_[i] == Side::kBackward) continue;
      for (ValueId v : op.operands) readers_[v.value()] |= stages;
    }
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      if (side_[i] != Side::kOff) continue;
      Stages stages = 0;
      for (ValueId v : program_.ops()[i].operands) stages |= OffPath(v) ? readers_[v.value()] : 0;
      for (ValueId v : program_.ops()[i].results) {
        if (readers_[v.value()] == 0) readers_[v.value()] = stages;
      }
    }
  }

  bool IsWeight(ValueId v) const { return OffPath(v) && (origins_[v.value()] & kFromState) != 0; }

  void LabelOthers() {
    FindReaders();
    // A recomputed forward op first gets the highest stage of its operands and weights. Then it moves up to the lowest
    // stage of its recomputed readers.
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      if (side_[i] != Side::kRecomputed) continue;
      int stage = 0;
      for (ValueId v : program_.ops()[i].operands) {
        if (IsWeight(v) && readers_[v.value()] != 0) stage = std::max(stage, Lowest(readers_[v.value()]));
        if (!OffPath(v)) stage = std::max(stage, stage_[DefOf(v)]);
      }
      stage_[i] = stage;
    }
    for (size_t i = program_.ops().size(); i-- > 0;) {
      if (side_[i] != Side::kRecomputed) continue;
      int wanted = stages_;
      for (ValueId v : program_.ops()[i].results) {
        for (graph::OpId use : uses_[v.value()]) {
          if (side_[use.value()] == Side::kRecomputed) wanted = std::min(wanted, stage_[use.value()]);
        }
      }
      if (wanted < stages_) stage_[i] = std::max(stage_[i], wanted);
    }
    FindOwners();
    for (size_t i = 0; i < program_.ops().size(); ++i) {
      if (side_[i] == Side::kBackward) stage_[i] = BackwardStage(i);
    }
    SinkBackward();
    // A value off the main path gets the stage of its earliest reader.
    for (size_t i = program_.ops().size(); i-- > 0;) {
      if (side_[i] != Side::kOff) continue;
      int stage = stages_;
      for (ValueId v : program_.ops()[i].results) {
        for (graph::OpId use : uses_[v.value()]) stage = std::min(stage, stage_[use.value()]);
      }
      stage_[i] = stage == stages_ ? 0 : stage;
    }
    PlaceSlots();
    std::vector<bool> backward(program_.ops().size());
    for (size_t i = 0; i < side_.size(); ++i) backward[i] = side_[i] == Side::kBackward;
    out_.op_stage[run_.program] = stage_;
    out_.backward[run_.program] = backward;
    out_.layer[run_.program].assign(program_.ops().size(), -1);
  }

  int BackwardStage(size_t i) const {
    const Op& op = program_.ops()[i];
    int back = stages_ - 1, forward = stages_ - 1;
    for (ValueId v : op.operands) {
      const Side side = side_[DefOf(v)];
      if (side == Side::kBackward) back = std::min(back, stage_[DefOf(v)]);
      else if (side != Side::kOff) forward = std::min(forward, stage_[DefOf(v)]);
    }
    if (single_[i]) {
      if (std::popcount(owners_[i]) == 1) return std::min(back, Lowest(owners_[i]));
      return std::min(back, forward);
    }
    for (ValueId v : op.operands) {
      if (!IsWeight(v)) continue;
      const int reader = HighestUpTo(readers_[v.value()], back);
      if (reader >= 0) forward = std::min(forward, reader);
    }
    return std::min(back, forward);
  }

  // Moves a backward op to its last reader's stage if only earlier stages read the op's results and if the stages then
  // send fewer bytes. After the move, the stages send the op's operands instead of its results. Operands that the
  // earlier stage reads anyway are free.
  void SinkBackward() {
    for (size_t i = program_.ops().size(); i-- > 0;) {
      if (side_[i] != Side::kBackward) continue;
      const Op& op = program_.ops()[i];
      int reader = -1;
      Bytes saved = 0;
      for (ValueId v : op.results) {
        saved += program_.shape(v).bytes();
        if (result_of_[v.value()]) reader = stages_;
        for (graph::OpId use : uses_[v.value()]) reader = std::max(reader, stage_[use.value()]);
      }
      if (reader < 0 || reader >= stage_[i]) continue;
      Bytes added = 0;
      std::set<ValueId> seen;
      for (ValueId v : op.operands) {
        if (OffPath(v) || !seen.insert(v).second || stage_[DefOf(v)] == reader) continue;
        const bool there = std::any_of(uses_[v.value()].begin(), uses_[v.value()].end(), [&](graph::OpId use) {
          return use.value() != static_cast<int>(i) && stage_[use.value()] == reader;
        });
        if (!there) added += program_.shape(v).bytes();
      }
      if (added < saved) stage_[i] = reader;
    }
  }

  // For each op, finds the parameters whose gradients depend on it, and the stages that read these parameters.
  void FindOwners() {
    owners_.assign(program_.ops().size(), 0);
    for (size_t r = 0; r < run_.outputs.size(); ++r) {
      owners_[DefOf(program_.results()[r])] |= ReadersOfKin(run_.outputs[r].value());
    }
    for (size_t i = program_.ops().size(); i-- > 0;) {
      for (ValueId v : program_.ops()[i].operands) owners_[DefOf(v)] |= owners_[i];
    }
  }

  Stages ReadersOfKin(int slot) const {
    Stages stages = 0;
    const std::set<int> kin = kinship_.All(slot);
    for (size_t p = 0; p < run_.inputs.size(); ++p) {
      const plan::SlotId input = run_.inputs[p];
      if (!input.valid() || input.value() == slot || !kin.contains(input.value())) continue;
      stages |= readers_[program_.parameters()[p].value()];
    }
    return stages;
  }

  // Places the slots. A leaf or a result of an earlier program gets the stage of its first reader. A slot that this
  // program writes gets the stage of the op that writes it.
  void PlaceSlots() {
    for (size_t p = 0; p < run_.inputs.size(); ++p) {
      if (!run_.inputs[p].valid()) continue;
      int stage = stages_;
      for (graph::OpId use : uses_[program_.parameters()[p].value()]) stage = std::min(stage, stage_[use.value()]);
      int& home = out_.slot_stage[run_.inputs[p].value()];
      if (stage < stages_ && (home < 0 || stage < home)) home = stage;
    }
    for (size_t r = 0; r < run_.outputs.size(); ++r) {
      int& home = out_.slot_stage[run_.outputs[r].value()];
      const bool state = executable_.mesh_programs[0].slots[run_.outputs[r].value()].kind == Slot::Kind::kState;
      if (!state || home < 0) home = stage_[DefOf(program_.results()[r])];
    }
  }

  const Executable& executable_;
  const plan::RunInstruction& run_;
  const Graph& program_;
  const std::vector<uint8_t>& origins_;
  const std::vector<bool> recomputed_;
  const std::vector<bool>& gradient_slot_;
  const Kinship& kinship_;
  const LabelRequest& request_;
  Labels& out_;
  const int stages_;
  const std::vector<std::vector<graph::OpId>> uses_;
  std::vector<Side> side_;        // one entry per op
  std::vector<int> stage_;        // one entry per op
  std::vector<bool> single_;      // one entry per op: whether exactly one gradient depends on it
  std::vector<Stages> readers_;   // one entry per value: if off the main path, the stages whose forward reads it
  std::vector<char> result_of_;   // one entry per value: whether it is a result
  std::vector<Stages> owners_;    // one entry per op: see FindOwners
};

// Gives slots without a stage the stage of their kin.
void PlaceKin(const Kinship& kinship, Labels& labels) {
  std::deque<int> next;
  for (size_t s = 0; s < labels.slot_stage.size(); ++s) {
    if (labels.slot_stage[s] >= 0) next.push_back(static_cast<int>(s));
  }
  for (; !next.empty(); next.pop_front()) {
    for (int other : kinship.Of(next.front())) {
      if (labels.slot_stage[other] >= 0) continue;
      labels.slot_stage[other] = labels.slot_stage[next.front()];
      next.push_back(other);
    }
  }
}

// Returns one entry per slot: whether it holds a gradient, that is, a temporary that is kin to a state slot.
std::vector<bool> GradientSlots(const Executable& executable, const Kinship& kinship) {
  const std::vector<Slot>& slots = executable.mesh_programs[0].slots;
  std::vector<bool> gradients(slots.size(), false);
  for (size_t s = 0; s < slots.size(); ++s) {
    if (slots[s].kind == Slot::Kind::kState) {
      gradients[s] = true;  // if one program runs the whole step, the new state stands for the gradient
      continue;
    }
    for (int other : kinship.Of(static_cast<int>(s))) {
      gradients[s] = gradients[s] || slots[other].kind == Slot::Kind::kState;
    }
  }
  return gradients;
}

// Labels a program that runs once: after the loops whose results it reads, or before all loops.
class OnceLabels {
 public:
  OnceLabels(const Executable& executable, const ProgramRun& run, Labels& labels)
      : run_(run.run), slots_(executable.mesh_programs[0].slots), program_(executable.programs[run.run.program].graph),
        recomputed_(RecomputedEverywhere(executable, run)), labels_(labels) {}

  void Run(bool forward) {
    const size_t n = program_.ops().size();
    // One entry per op: the stages that need its value.
    std::vector<Stages> wanted(n, 0);
    for (size_t r = 0; r < run_.outputs.size(); ++r) {
      const int home = labels_.slot_stage[run_.outputs[r].value()];
      if (home >= 0) wanted[DefOf(program_.results()[r])] |= Bit(home);
    }
    for (size_t i = n; i-- > 0;) {
      for (ValueId v : program_.ops()[i].operands) wanted[DefOf(v)] |= wanted[i];
    }
    std::vector<int> stage(n, 0);
    for (size_t i = 0; i < n; ++i) {
      const Op& op = program_.ops()[i];
      if (op.opcode == Opcode::kParameter) {
        const plan::SlotId slot = run_.inputs[op.as<graph::ParameterAttrs>().index];
        stage[i] = slot.valid() ? std::max(0, labels_.slot_stage[slot.value()]) : 0;
      } else if (!forward) {
        stage[i] = wanted[i] == 0 ? 0 : Lowest(wanted[i]);
      } else if (std::popcount(wanted[i]) == 1) {
        stage[i] = Lowest(wanted[i]);
      } else {
        stage[i] = MostBytes(op, stage);
      }
    }
    for (size_t r = 0; r < run_.outputs.size(); ++r) {
      int& home = labels_.slot_stage[run_.outputs[r].value()];
      if (home < 0 || slots_[run_.outputs[r].value()].kind != Slot::Kind::kState) {
        home = stage[DefOf(program_.results()[r])];
      }
    }
    labels_.op_stage[run_.program] = std::move(stage);
    labels_.backward[run_.program].assign(n, false);
    labels_.layer[run_.program].assign(n, -1);
  }

 private:
  int DefOf(ValueId v) const { return program_.value(v).op.value(); }

  int MostBytes(const Op& op, const std::vector<int>& stage) const {
    std::array<double, kMaxStages> bytes{};
    for (ValueId v : op.operands) {
      if (!recomputed_[v.value()]) bytes[stage[DefOf(v)]] += static_cast<double>(program_.shape(v).bytes());
    }
    return static_cast<int>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
  }

  const plan::RunInstruction& run_;
  const std::vector<Slot>& slots_;
  const Graph& program_;
  const std::vector<bool> recomputed_;
  Labels& labels_;
};

}  // namespace

absl::StatusOr<Labels> LabelLoops(const Executable& executable, const LabelRequest& request) {
  const int stages = static_cast<int>(request.shares.size());
  if (stages < 1 || stages > kMaxStages) {
    return InvalidArgument("a pipeline of %d stages was requested; 1 to %d stages are possible", stages, kMaxStages);
  }
  const std::vector<ProgramRun> runs = RunsOf(executable);
  Labels labels;
  labels.op_stage.resize(executable.programs.size());
  labels.backward.resize(executable.programs.size());
  labels.layer.resize(executable.programs.size());
  labels.slot_stage.assign(executable.mesh_programs[0].slots.size(), -1);
  const Kinship kinship(executable);
  const std::vector<bool> gradients = GradientSlots(executable, kinship);
  std::vector<uint8_t> slot_origins;
  std::vector<std::vector<uint8_t>> origins;
  int region = -1;
  double most = -1;
  const bool loops = std::any_of(runs.begin(), runs.end(), [](const ProgramRun& run) { return run.in_loop; });
  for (size_t i = 0; i < runs.size(); ++i) {
    origins.push_back(Origins(executable, runs[i], slot_origins));
    if (loops && !runs[i].in_loop) continue;
    const double work = ProductWork(executable.programs[runs[i].run.program].graph);
    if (work > most) most = work, region = static_cast<int>(i);
  }
  if (region < 0) return FailedPrecondition("an executable that runs no program cannot be cut into stages");
  auto label = [&](size_t i) {
    return RegionLabels(executable, runs[i], origins[i], gradients, kinship, request, labels);
  };
  ALPA_RETURN_IF_ERROR(label(region).LabelMain());
  PlaceKin(kinship, labels);
  for (size_t i = runs.size(); i-- > 0;) {
    if (runs[i].in_loop && static_cast<int>(i) != region) label(i).LabelByLeaves();
  }
  return labels;
}

void LabelRest(const Executable& executable, Labels& labels) {
  labels.op_stage.resize(executable.programs.size());
  labels.backward.resize(executable.programs.size());
  labels.layer.resize(executable.programs.size());
  labels.slot_stage.resize(executable.mesh_programs[0].slots.size(), -1);
  PlaceKin(Kinship(executable), labels);
  const std::vector<ProgramRun> runs = RunsOf(executable);
  bool before_loops = true;
  for (const ProgramRun& run : runs) {
    before_loops = before_loops && !run.in_loop;
    if (!labels.op_stage[run.run.program].empty()) continue;
    OnceLabels(executable, run, labels).Run(!before_loops);
  }
  for (int& stage : labels.slot_stage) stage = std::max(stage, 0);
}

}  // namespace alpa::planner
