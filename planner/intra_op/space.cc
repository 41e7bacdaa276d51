#include "planner/intra_op/space.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "base/status.h"
#include "planner/lower/local_op.h"
#include "planner/strategy/rule_set.h"

namespace alpa::planner::intra_op {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;
using plan::Instruction;
using plan::Slot;
using plan::SlotId;

namespace {

// The maximum number of splits inside a dimension (outer != 1) that one value may have. Each such split comes from a
// different path through reshapes.
constexpr int kMostInner = 4;
// The maximum number of points in the step at which memory is limited. These are the fullest points, at most one per
// program.
constexpr size_t kMemoryRows = 3;

// Returns whether the op only moves, converts or repeats the elements of its first operand.
bool Rearranges(Opcode opcode) {
  switch (opcode) {
    case Opcode::kReshape: case Opcode::kTranspose: case Opcode::kConvert: case Opcode::kCopy: case Opcode::kBroadcast:
    case Opcode::kSlice: case Opcode::kDynamicSlice:
      return true;
    default: return false;
  }
}

bool Fused(Opcode opcode) {
  return graph::IsElementwise(opcode) || opcode == Opcode::kBroadcast || opcode == Opcode::kReshape ||
         opcode == Opcode::kIota || opcode == Opcode::kConstant || opcode == Opcode::kOptimizationBarrier;
}

// A RUN of the mesh's instruction list.
struct Run {
  int32_t program = -1;
  double times = 1;  // number of runs per step
  const plan::RunInstruction* instruction = nullptr;
};

// A value of the problem: a result of a node.
struct Made {
  int node = -1, result = -1;
};

class Builder {
 public:
  Builder(const AxisRequest& request, const CostModel& model, const SpaceOptions& options, Space& space)
      : model_(model), options_(options), space_(space), problem_(space.problem), executable_(space.executable),
        list_(space.executable.mesh_programs[request.mesh.value()]), request_(request), n_(request.size) {}

  // Fills `space`. Errors: as MakeSpace.
  absl::Status Build() {
    problem_.n = n_;
    ALPA_RETURN_IF_ERROR(FindRuns(list_.instructions, 1));
    writer_.resize(list_.slots.size());
    for (size_t r = 0; r < runs_.size(); ++r) {
      if (!run_of_.try_emplace(runs_[r].program, r).second) {
        return Unimplemented("program %d is run from two places, which the tensor axis does not support yet",
                             runs_[r].program);
      }
      const Graph& graph = GraphOf(runs_[r]);
      for (size_t o = 0; o < runs_[r].instruction->outputs.size(); ++o) {
        const size_t s = runs_[r].instruction->outputs[o].value();
        if (writer_[s]) {
          return Unimplemented("slot %d is written by two programs, which the tensor axis does not support yet", s);
        }
        writer_[s] = {r, graph.results()[o]};
      }
    }
    FindStates();
    AddSlots();
    for (size_t r = 0; r < runs_.size(); ++r) AddOps(r);
    for (size_t r = 0; r < runs_.size(); ++r) AddSites(r);
    if (options_.rigid_weights) MakeWeightsRigid();
    if (options_.memory_limit < kForbidden) AddMemory();
    return absl::OkStatus();
  }

 private:
  const Graph& GraphOf(const Run& run) const { return executable_.programs[run.program].graph; }

  absl::Status FindRuns(const std::vector<Instruction>& instructions, double times) {
    for (const Instruction& instruction : instructions) {
      if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
        ALPA_RETURN_IF_ERROR(FindRuns(loop->body, times * static_cast<double>(loop->count)));
      } else if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
        runs_.push_back({run->program, times, run});
      } else if (!std::holds_alternative<plan::AllocInstruction>(instruction.action) &&
                 !std::holds_alternative<plan::FreeInstruction>(instruction.action)) {
        return Unimplemented("a mesh that exchanges messages cannot be cut along axis \"%s\" yet", request_.name);
      }
    }
    return absl::OkStatus();
  }

  // ---- States in which a value may be ----

  RuleContext ContextFor(const Graph& graph) const { return {&graph, n_, [](ValueId) { return false; }, true}; }

  // Adds `state` to the possible states of the value, unless it is a split inside a dimension and the value already has
  // kMostInner of these.
  void Possible(size_t run, ValueId v, const AxisState& state) {
    std::vector<AxisState>& states = possible_[run][v.value()];
    if (state.replicated() || std::find(states.begin(), states.end(), state) != states.end()) return;
    if (state.split() && state.outer != 1 &&
        std::count_if(states.begin(), states.end(), [](const AxisState& s) { return s.outer != 1; }) >= kMostInner) {
      return;
    }
    states.push_back(state);
  }

  // Returns the possible states of each operand of `op`.
  std::vector<std::vector<AxisState>> Arriving(size_t run, const Op& op) const {
    std::vector<std::vector<AxisState>> states;
    for (ValueId v : op.operands) states.push_back(possible_[run][v.value()]);
    return states;
  }

  // Extends the possible states of the operands and results of `op` by the states that occur in its rules.
  void Extend(size_t run, const Op& op) {
    const Graph& graph = GraphOf(runs_[run]);
    const RuleContext context = ContextFor(graph);
    if (op.opcode == Opcode::kParameter) return;
    const auto take = [&](const std::vector<ValueId>& operands, const std::vector<ValueId>& results,
                          const OpRule& rule) {
      for (size_t i = 0; i < operands.size(); ++i) {
        if (rule.operands[i].split()) Possible(run, operands[i], rule.operands[i]);
      }
      for (size_t r = 0; r < results.size(); ++r) Possible(run, results[r], rule.results[r]);
    };
    if (HandlesOperandsSeparately(op)) {
      for (size_t p = 0; p < op.operands.size(); ++p) {
        for (const OpRule& rule : RulesOfPart(context, op, p, PartStates(run, op, p))) {
          take({op.operands[p]}, {op.results[p]}, rule);
        }
      }
      return;
    }
    const std::vector<AxisState> slices =
        op.results.size() == 1 ? possible_[run][op.results[0].value()] : std::vector<AxisState>();
    for (const OpRule& rule : RulesOf(context, op, Arriving(run, op), slices)) take(op.operands, op.results, rule);
  }

  std::vector<AxisState> PartStates(size_t run, const Op& op, size_t part) const {
    std::vector<AxisState> states = possible_[run][op.operands[part].value()];
    if (op.opcode != Opcode::kOptimizationBarrier) return states;
    for (const AxisState& state : possible_[run][op.results[part].value()]) states.push_back(state);
    return states;
  }

  // A value that is written to a temporary slot can be in the same states as the parameters that read the slot. Adds
  // the states of the written value to these parameters, and the states of the parameters to the value.
  void ShareThroughSlots() {
    for (size_t r = 0; r < runs_.size(); ++r) {
      const Graph& graph = GraphOf(runs_[r]);
      const std::vector<SlotId>& inputs = runs_[r].instruction->inputs;
      for (size_t p = 0; p < inputs.size(); ++p) {
        if (!inputs[p].valid() || !writer_[inputs[p].value()] ||
            list_.slots[inputs[p].value()].kind == Slot::Kind::kState) {
          continue;
        }
        const auto& [run, value] = *writer_[inputs[p].value()];
        const std::vector<AxisState> there = possible_[run][value.value()];
        const std::vector<AxisState> here = possible_[r][graph.parameters()[p].value()];
        for (const AxisState& state : there) Possible(r, graph.parameters()[p], state);
        for (const AxisState& state : here) {
          if (state.split()) Possible(run, value, state);
        }
      }
    }
  }

  void FindStates() {
    for (const Run& run : runs_) {
      const Graph& graph = GraphOf(run);
      auto& states = possible_.emplace_back();
      for (const graph::Value& value : graph.values()) states.push_back(SplitsOf(value.shape.dims, n_));
    }
    for (bool forward : {true, false, true}) {
      for (size_t r = 0; r < runs_.size(); ++r) {
        const std::vector<Op>& ops = GraphOf(runs_[r]).ops();
        for (size_t i = 0; i < ops.size(); ++i) Extend(r, ops[forward ? i : ops.size() - 1 - i]);
        ShareThroughSlots();
      }
    }
  }

  // ---- Nodes of the problem ----

  int AddNode(NodeOrigin origin, std::vector<Choice> choices, std::vector<OpRule> rules) {
    problem_.nodes.push_back({std::move(choices)});
    space_.origins.push_back(origin);
    space_.rules.push_back(std::move(rules));
    return static_cast<int>(problem_.nodes.size()) - 1;
  }

  // Returns the bytes that one device holds of an array in `state`.
  double BytesIn(const graph::Shape& shape, const AxisState& state) const {
    if (state.partial()) return static_cast<double>(graph::Shape{Widened(shape.dtype), shape.dims}.bytes());
    return state.split() ? static_cast<double>(shape.bytes()) / static_cast<double>(n_)
                         : static_cast<double>(shape.bytes());
  }

  void AddSlots() {
    slot_node_.assign(list_.slots.size(), -1);
    for (size_t s = 0; s < list_.slots.size(); ++s) {
      const Slot& slot = list_.slots[s];
      if (slot.kind != Slot::Kind::kState && slot.kind != Slot::Kind::kInput) continue;
      const auto cut = std::find_if(request_.cuts.begin(), request_.cuts.end(),
                                    [&](const plan::Cut& c) { return c.leaf == slot.leaf; });
      std::vector<AxisState> states;
      if (cut != request_.cuts.end()) {
        states.push_back(cut->dim < 0 ? AxisState::Replicated() : AxisState::Split(cut->dim));
      } else {
        states.push_back(AxisState::Replicated());
        if (slot.kind == Slot::Kind::kState) {
          for (const AxisState& split : SplitsOf(slot.shape.dims, n_)) {
            if (!request_.IsReserved(slot.leaf, split.dim)) states.push_back(split);
          }
        }
      }
      std::vector<Choice> choices;
      for (const AxisState& state : states) {
        const int number = problem_.StateNumber(state);
        choices.push_back({model_.state_byte * BytesIn(slot.shape, state), {number}, {number}, {}, {}});
      }
      NodeOrigin origin;
      origin.slot = static_cast<int32_t>(s);
      slot_node_[s] = AddNode(origin, std::move(choices), {});
    }
    replicated_node_ = AddNode({}, {{0, {}, {0}, {}, {}}}, {});
  }

  Choice ChoiceFor(const Op& op, int part, const OpRule& rule, const Run& run) {
    Choice choice;
    choice.cost = run.times * model_.op(GraphOf(run), op, part, rule);
    for (const AxisState& state : rule.operands) choice.wants.push_back(problem_.StateNumber(state));
    for (const AxisState& state : rule.results) choice.makes.push_back(problem_.StateNumber(state));
    return choice;
  }

  void AddOps(size_t r) {
    const Run& run = runs_[r];
    const Graph& graph = GraphOf(run);
    const RuleContext context = ContextFor(graph);
    std::vector<std::vector<int>>& nodes = nodes_.emplace_back(graph.size());
    for (int i = 0; i < graph.size(); ++i) {
      const Op& op = graph.ops()[i];
      if (op.opcode == Opcode::kParameter) continue;
      const bool parts = HandlesOperandsSeparately(op);
      for (size_t p = 0; p < (parts ? op.operands.size() : 1); ++p) {
        const int part = parts ? static_cast<int>(p) : -1;
        const std::vector<AxisState> slices =
            op.results.size() == 1 ? possible_[r][op.results[0].value()] : std::vector<AxisState>();
        std::vector<OpRule> rules = parts ? RulesOfPart(context, op, p, PartStates(r, op, p))
                                          : RulesOf(context, op, Arriving(r, op), slices);
        std::vector<Choice> choices;
        for (const OpRule& rule : rules) choices.push_back(ChoiceFor(op, part, rule, run));
        nodes[i].push_back(AddNode({run.program, i, part, -1}, std::move(choices), std::move(rules)));
      }
    }
  }

  int NodeOf(size_t r, int op, size_t operand_or_result) const {
    const std::vector<int>& nodes = nodes_[r][op];
    return nodes.size() == 1 && !HandlesOperandsSeparately(GraphOf(runs_[r]).ops()[op]) ? nodes[0]
                                                                                        : nodes[operand_or_result];
  }

  // Returns the node that makes a value, and the number of the result.
  Made MakerOf(size_t r, ValueId v, int depth = 0) {
    const Graph& graph = GraphOf(runs_[r]);
    const graph::Value& value = graph.value(v);
    const Op& op = graph.op(value.op);
    if (op.opcode != Opcode::kParameter) {
      return {NodeOf(r, value.op.value(), value.result), HandlesOperandsSeparately(op) ? 0 : value.result};
    }
    const SlotId slot = runs_[r].instruction->inputs[op.as<graph::ParameterAttrs>().index];
    // The depth limit ends a cycle: an accumulator that a loop only passes on stays replicated, like its initial value.
    if (!slot.valid() || depth > static_cast<int>(runs_.size())) return {replicated_node_, 0};
    if (slot_node_[slot.value()] >= 0) return {slot_node_[slot.value()], 0};
    if (!writer_[slot.value()]) return {replicated_node_, 0};
    const auto& [writer, written] = *writer_[slot.value()];
    const Made made = MakerOf(writer, written, depth + 1);
    return list_.slots[slot.value()].kind == Slot::Kind::kAux ? AsReturned(made) : made;
  }

  // Returns the value in the form in which an aux slot keeps it. This form is an additional result of the node.
  Made AsReturned(const Made& made) {
    const auto [found, added] = returned_.try_emplace(
        {made.node, made.result}, static_cast<int>(problem_.nodes[made.node].choices[0].makes.size()));
    if (added) {
      for (Choice& choice : problem_.nodes[made.node].choices) {
        choice.makes.push_back(Returned(choice.makes[made.result]));
      }
    }
    return {made.node, found->second};
  }

  // Returns the state in which an aux slot keeps a value that is made in `state`. Plain tiles stay plain tiles, and
  // every other state becomes replicated.
  int Returned(int state) const {
    const AxisState& made = problem_.states[state];
    return made.split() && made.outer == 1 ? state : 0;
  }

  // ---- Sites of the problem ----

  void AddSites(size_t r) {
    const Run& run = runs_[r];
    const Graph& graph = GraphOf(run);
    std::vector<Site> sites(graph.values().size());
    for (int i = 0; i < graph.size(); ++i) {
      const Op& op = graph.ops()[i];
      for (size_t k = 0; k < op.operands.size(); ++k) {
        const bool parts = HandlesOperandsSeparately(op);
        sites[op.operands[k].value()].readers.push_back({NodeOf(r, i, k), parts ? 0 : static_cast<int>(k)});
      }
    }
    for (size_t o = 0; o < run.instruction->outputs.size(); ++o) {
      const size_t s = run.instruction->outputs[o].value();
      Site& site = sites[graph.results()[o].value()];
      if (list_.slots[s].kind == Slot::Kind::kState) site.readers.push_back({slot_node_[s], 0});
      if (list_.slots[s].kind == Slot::Kind::kAux) site.returned = true;
    }
    for (size_t v = 0; v < sites.size(); ++v) {
      Site& site = sites[v];
      if (site.readers.empty() && !site.returned) continue;
      const Made made = MakerOf(r, ValueId(static_cast<int32_t>(v)));
      site.node = made.node;
      site.result = made.result;
      site.times = run.times;
      const graph::Shape& shape = graph.values()[v].shape;
      const double bytes = static_cast<double>(shape.bytes());
      const double partial = BytesIn(shape, AxisState::Partial(graph::ReduceKind::kSum));
      site.costs = model_.move(bytes, partial);
      site.sent = SentBytes(bytes, partial, n_);
      site_of_[{r, static_cast<int32_t>(v)}] = static_cast<int>(problem_.sites.size());
      problem_.sites.push_back(std::move(site));
    }
  }

  // ---- Rigid weights ----

  // Returns one entry per run and value: the state slot whose elements the value holds, possibly rearranged or
  // converted. -1: none. Follows temporary slots, too, because weights are converted once before a loop.
  std::vector<std::vector<int>> Chains() const {
    std::vector<std::vector<int>> chains;
    for (size_t r = 0; r < runs_.size(); ++r) {
      const Graph& graph = GraphOf(runs_[r]);
      std::vector<int>& slot_of = chains.emplace_back(graph.values().size(), -1);
      for (size_t p = 0; p < runs_[r].instruction->inputs.size(); ++p) {
        const SlotId slot = runs_[r].instruction->inputs[p];
        if (!slot.valid()) continue;
        const Slot::Kind kind = list_.slots[slot.value()].kind;
        int& mine = slot_of[graph.parameters()[p].value()];
        if (kind == Slot::Kind::kState) mine = slot.value();
        const auto& writer = writer_[slot.value()];
        if (kind == Slot::Kind::kTemporary && writer && writer->first < r) {
          mine = chains[writer->first][writer->second.value()];
        }
      }
      for (const Op& op : graph.ops()) {
        if (Rearranges(op.opcode)) slot_of[op.results[0].value()] = slot_of[op.operands[0].value()];
      }
    }
    return chains;
  }

  // Returns, for each value of run `r` on a chain (see Chains), the splits that all its readers can use without a
  // conversion. Visits the ops from the last to the first. `later`: the results for the runs after `r`.
  std::vector<std::set<int>> Workable(size_t r, const std::vector<int>& chain,
                                      const std::map<size_t, std::vector<std::set<int>>>& later) {
    const Graph& graph = GraphOf(runs_[r]);
    std::vector<std::set<int>> workable(graph.values().size());
    for (size_t v = 0; v < chain.size(); ++v) {
      if (chain[v] < 0) continue;
      for (const AxisState& state : possible_[r][v]) {
        if (state.split()) workable[v].insert(problem_.StateNumber(state));
      }
    }
    for (const auto& [run, there] : later) {
      for (size_t p = 0; p < runs_[run].instruction->inputs.size(); ++p) {
        const SlotId slot = runs_[run].instruction->inputs[p];
        if (!slot.valid() || list_.slots[slot.value()].kind != Slot::Kind::kTemporary) continue;
        const auto& writer = writer_[slot.value()];
        if (!writer || writer->first != r || chain[writer->second.value()] < 0) continue;
        const std::set<int>& read = there[GraphOf(runs_[run]).parameters()[p].value()];
        std::erase_if(workable[writer->second.value()], [&](int state) { return !read.contains(state); });
      }
    }
    for (int i = graph.size(); i-- > 0;) {
      const Op& op = graph.ops()[i];
      for (size_t k = 0; k < op.operands.size(); ++k) {
        const int32_t v = op.operands[k].value();
        if (chain[v] < 0) continue;
        const Node& node = problem_.nodes[NodeOf(r, i, k)];
        const size_t operand = HandlesOperandsSeparately(op) ? 0 : k;
        std::set<int> wanted;
        for (const Choice& choice : node.choices) {
          const int32_t result = op.results[0].value();
          const bool goes_on = k == 0 && Rearranges(op.opcode) && chain[result] >= 0;
          if (!goes_on || workable[result].contains(choice.makes[0])) wanted.insert(choice.wants[operand]);
        }
        std::erase_if(workable[v], [&](int state) { return !wanted.contains(state); });
      }
    }
    return workable;
  }

  // Restricts each weight to the splits that all its readers can use, and makes its sites rigid. A weight keeps all its
  // choices if the request cuts it, or if it has no such split.
  void MakeWeightsRigid() {
    std::set<int> weights;
    const std::vector<std::vector<int>> chains = Chains();
    for (size_t r = 0; r < runs_.size(); ++r) {
      for (const Op& op : GraphOf(runs_[r]).ops()) {
        if (!graph::IsProduct(op.opcode)) continue;
        for (ValueId v : op.operands) {
          if (chains[r][v.value()] >= 0) weights.insert(chains[r][v.value()]);
        }
      }
    }
    for (const plan::Cut& cut : request_.cuts) {
      std::erase_if(weights, [&](int s) { return list_.slots[s].leaf == cut.leaf; });
    }
    std::map<int, std::set<int>> states;  // key: slot; value: the splits in which the weight can be stored and used
    for (int s : weights) {
      for (const Choice& choice : problem_.nodes[slot_node_[s]].choices) {
        if (choice.makes[0] != 0) states[s].insert(choice.makes[0]);
      }
    }
    std::map<size_t, std::vector<std::set<int>>> workable_of;
    for (size_t r = runs_.size(); r-- > 0;) {
      workable_of[r] = Workable(r, chains[r], workable_of);
      const std::vector<std::set<int>>& workable = workable_of[r];
      for (size_t p = 0; p < runs_[r].instruction->inputs.size(); ++p) {
        const SlotId slot = runs_[r].instruction->inputs[p];
        if (!slot.valid() || !weights.contains(slot.value())) continue;
        const std::set<int>& here = workable[GraphOf(runs_[r]).parameters()[p].value()];
        std::erase_if(states[slot.value()], [&](int state) { return !here.contains(state); });
      }
    }
    for (int s : weights) {
      if (states[s].empty()) continue;  // no dimension can be split
      std::erase_if(problem_.nodes[slot_node_[s]].choices,
                    [&](const Choice& choice) { return !states[s].contains(choice.makes[0]); });
      for (size_t r = 0; r < runs_.size(); ++r) {
        for (size_t v = 0; v < chains[r].size(); ++v) {
          const auto site = site_of_.find({r, static_cast<int32_t>(v)});
          if (chains[r][v] == s && site != site_of_.end()) problem_.sites[site->second].rigid = true;
        }
      }
    }
  }

  // ---- Memory rows of the problem ----

  // The point of a run at which the number of live bytes is highest.
  struct Place {
    double bytes = 0;                // live bytes, counted as if every value were replicated
    size_t run = 0;
    std::vector<ValueId> values;     // values that are live at this point
  };

  // Returns one entry per value: whether it is written to memory between kernels, because an op that is not fused makes
  // or reads it. Parameters and results are excluded, because they are counted as slots.
  std::vector<bool> Written(size_t r) const {
    const Graph& graph = GraphOf(runs_[r]);
    std::vector<bool> written(graph.values().size(), false);
    for (const Op& op : graph.ops()) {
      if (op.opcode == Opcode::kParameter) continue;
      if (!Fused(op.opcode)) {
        for (ValueId v : op.operands) written[v.value()] = true;
        for (ValueId v : op.results) written[v.value()] = true;
      }
    }
    for (ValueId v : graph.results()) written[v.value()] = false;
    for (ValueId v : graph.parameters()) written[v.value()] = false;
    return written;
  }

  Place Fullest(size_t r) const {
    const Graph& graph = GraphOf(runs_[r]);
    const std::vector<bool> written = Written(r);
    std::vector<int> last(graph.values().size(), -1);
    for (int i = 0; i < graph.size(); ++i) {
      for (ValueId v : graph.ops()[i].operands) last[v.value()] = i;
    }
    const auto bytes = [&](ValueId v) { return static_cast<double>(graph.shape(v).bytes()); };
    double live = 0, most = -1;
    int where = 0;
    for (int i = 0; i < graph.size(); ++i) {
      const Op& op = graph.ops()[i];
      for (ValueId v : op.results) live += written[v.value()] ? bytes(v) : 0;
      if (live > most) most = live, where = i;
      std::set<ValueId> gone(op.operands.begin(), op.operands.end());
      for (ValueId v : gone) live -= written[v.value()] && last[v.value()] == i ? bytes(v) : 0;
    }
    Place place{most, r, {}};
    for (size_t v = 0; v < graph.values().size(); ++v) {
      const int made = graph.values()[v].op.value();
      if (written[v] && made <= where && last[v] >= where) place.values.push_back(ValueId(static_cast<int32_t>(v)));
    }
    return place;
  }

  // Adds the bytes of a value to a memory row, in every choice of its node.
  void AddBytes(const Made& made, const graph::Shape& shape, int row) {
    for (Choice& choice : problem_.nodes[made.node].choices) {
      choice.memory[row] += BytesIn(shape, problem_.states[choice.makes[made.result]]);
    }
  }

  void AddMemory() {
    std::vector<Place> places;
    for (size_t r = 0; r < runs_.size(); ++r) places.push_back(Fullest(r));
    std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.bytes > b.bytes; });
    places.resize(std::min(places.size(), kMemoryRows));
    // AsReturned may add results to nodes. All results must exist before the choices get their memory.
    std::vector<Made> kept(list_.slots.size());
    for (size_t s = 0; s < list_.slots.size(); ++s) {
      if (slot_node_[s] >= 0) kept[s] = {slot_node_[s], 0};
      else if (!writer_[s]) kept[s] = {replicated_node_, 0};
      else kept[s] = MakerOf(writer_[s]->first, writer_[s]->second);
      if (list_.slots[s].kind == Slot::Kind::kAux && writer_[s]) kept[s] = AsReturned(kept[s]);
    }
    problem_.memory_rows = static_cast<int>(places.size());
    problem_.memory_limit = options_.memory_limit;
    for (Node& node : problem_.nodes) {
      for (Choice& choice : node.choices) choice.memory.assign(places.size(), 0);
    }
    for (size_t row = 0; row < places.size(); ++row) {
      for (size_t s = 0; s < list_.slots.size(); ++s) AddBytes(kept[s], list_.slots[s].shape, static_cast<int>(row));
      for (ValueId v : places[row].values) {
        AddBytes(MakerOf(places[row].run, v), GraphOf(runs_[places[row].run]).shape(v), static_cast<int>(row));
      }
    }
  }

  const CostModel& model_;
  const SpaceOptions& options_;
  Space& space_;
  Problem& problem_;
  const plan::Executable& executable_;
  const plan::MeshProgram& list_;
  const AxisRequest& request_;
  const int64_t n_;
  std::vector<Run> runs_;
  std::map<int32_t, size_t> run_of_;                                     // key: program number
  std::vector<std::optional<std::pair<size_t, ValueId>>> writer_;        // one entry per slot: writing run, value
  std::vector<std::vector<std::vector<AxisState>>> possible_;            // one entry per run, value; omits replicated
  std::vector<int> slot_node_;                                           // one entry per slot; -1: not a leaf
  int replicated_node_ = -1;                                             // makes values that are always replicated
  std::vector<std::vector<std::vector<int>>> nodes_;                     // one entry per run, op and part
  std::map<std::pair<int, int>, int> returned_;                          // key: node, result; value: AsReturned
  std::map<std::pair<size_t, int32_t>, int> site_of_;                    // key: run and value
};

// Returns the chosen rules, one entry per program and op. Every program of the mesh has an entry, even one whose ops
// are all parameters.
std::map<int32_t, std::vector<OpRule>> RulesChosen(const Space& space, const std::vector<int>& chosen) {
  std::map<int32_t, std::vector<OpRule>> rules;
  for (size_t p = 0; p < space.executable.programs.size(); ++p) {
    const plan::StageProgram& program = space.executable.programs[p];
    if (program.mesh == space.request.mesh) rules[static_cast<int32_t>(p)].resize(program.graph.size());
  }
  for (size_t i = 0; i < space.origins.size(); ++i) {
    const NodeOrigin& origin = space.origins[i];
    if (origin.op < 0) continue;
    const Graph& graph = space.executable.programs[origin.program].graph;
    OpRule& rule = rules.at(origin.program)[origin.op];
    const OpRule& mine = space.rules[i][chosen[i]];
    if (origin.part < 0) {
      rule = mine;
      continue;
    }
    rule.operands.resize(graph.ops()[origin.op].operands.size());
    rule.results.resize(graph.ops()[origin.op].results.size());
    rule.operands[origin.part] = mine.operands[0];
    rule.results[origin.part] = mine.results[0];
  }
  return rules;
}

AxisState SlotState(const Space& space, size_t node, int choice) {
  return space.problem.states[space.problem.nodes[node].choices[choice].makes[0]];
}

// Returns the request with cuts that put every leaf into its chosen state. It cuts the rigid weights, and the leaves
// whose state does not follow from the other cuts. `completed` adds everything else to a request, such as pins.
absl::StatusOr<AxisRequest> WithLeaves(const Space& space, const std::vector<int>& chosen,
                                       const std::function<absl::StatusOr<AxisRequest>(AxisRequest)>& completed) {
  const std::vector<Slot>& slots = space.executable.mesh_programs[space.request.mesh.value()].slots;
  std::set<int32_t> named;              // slots of the leaves that get a cut
  std::map<int32_t, AxisState> leaves;  // key: slot of a state leaf that the request does not cut
  for (const Site& site : space.problem.sites) {
    if (site.rigid && space.origins[site.node].slot >= 0) named.insert(space.origins[site.node].slot);
  }
  for (size_t i = 0; i < space.origins.size(); ++i) {
    const int32_t s = space.origins[i].slot;
    if (s < 0 || slots[s].kind != Slot::Kind::kState) continue;
    const bool given = std::any_of(space.request.cuts.begin(), space.request.cuts.end(),
                                   [&](const plan::Cut& cut) { return cut.leaf == slots[s].leaf; });
    if (!given) leaves[s] = SlotState(space, i, chosen[i]);
  }
  constexpr int kTries = 3;  // these attempts cut only leaves that have a wrong state; the next attempt cuts every leaf
  for (int attempt = 0;; ++attempt) {
    AxisRequest request = space.request;
    for (const auto& [s, state] : leaves) {
      if (named.contains(s)) {
        request.cuts.push_back({slots[s].leaf, state.split() ? state.dim : -1, plan::CutRank::kPinned});
      }
    }
    absl::StatusOr<AxisRequest> complete = completed(request);
    std::set<int32_t> astray;
    if (complete.ok()) {
      ALPA_ASSIGN_OR_RETURN(const AxisStates states, StatesAlongAxis(space.executable, *complete));
      for (const auto& [s, state] : leaves) {
        if (states.slots[s].state != state) astray.insert(s);
      }
      if (astray.empty()) return complete;
    }
    if (named.size() == leaves.size()) {
      ALPA_RETURN_IF_ERROR(complete.status());
      return Internal("axis \"%s\": %d leaves are not in the states that their cuts name", space.request.name,
                      astray.size());
    }
    if (complete.ok() && attempt < kTries) named.insert(astray.begin(), astray.end());
    else for (const auto& [s, state] : leaves) named.insert(s);
  }
}

}  // namespace

absl::StatusOr<Space> MakeSpace(const plan::Executable& executable, const AxisRequest& request, const CostModel& model,
                                const SpaceOptions& options) {
  if (request.reduce_scatter_from > 0 || !request.reduce_scatter_along.empty() || !request.pins.empty()) {
    return Unimplemented("cannot choose states along axis \"%s\", because its request has pins or reduce-scatters",
                         request.name);
  }
  Space space;
  space.executable = Padded(executable, request);
  space.request = request;
  ALPA_RETURN_IF_ERROR(StatesAlongAxis(space.executable, request).status());
  ALPA_RETURN_IF_ERROR(Builder(request, model, options, space).Build());
  return space;
}

absl::StatusOr<AxisRequest> RequestOf(const Space& space, const std::vector<int>& chosen) {
  const std::map<int32_t, std::vector<OpRule>> rules = RulesChosen(space, chosen);
  return WithLeaves(space, chosen,
                    [&](AxisRequest request) { return WithPins(space.executable, std::move(request), rules); });
}

absl::StatusOr<AxisRequest> CutsOf(const Space& space, const std::vector<int>& chosen) {
  return WithLeaves(space, chosen, [&](AxisRequest request) -> absl::StatusOr<AxisRequest> { return request; });
}

absl::StatusOr<std::vector<int>> ChoicesOf(const Space& space, const AxisRequest& request) {
  ALPA_ASSIGN_OR_RETURN(const AxisStates states, StatesAlongAxis(space.executable, request));
  std::vector<int> chosen;
  for (size_t i = 0; i < space.origins.size(); ++i) {
    const NodeOrigin& origin = space.origins[i];
    int found = -1;
    if (origin.slot >= 0) {
      for (size_t c = 0; c < space.problem.nodes[i].choices.size(); ++c) {
        if (SlotState(space, i, static_cast<int>(c)) == states.slots[origin.slot].state) found = static_cast<int>(c);
      }
    } else if (origin.op < 0) {
      found = 0;
    } else {
      OpRule rule = states.programs.at(origin.program).rules[origin.op];
      if (origin.part >= 0) rule = {{rule.operands[origin.part]}, {rule.results[origin.part]}};
      const auto at = std::find(space.rules[i].begin(), space.rules[i].end(), rule);
      if (at != space.rules[i].end()) found = static_cast<int>(at - space.rules[i].begin());
    }
    if (found < 0) return std::vector<int>();
    chosen.push_back(found);
  }
  return chosen;
}

}  // namespace alpa::planner::intra_op
