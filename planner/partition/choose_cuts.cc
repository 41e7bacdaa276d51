#include "planner/partition/choose_cuts.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/cost.h"
#include "planner/cost/collective_cost.h"

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using plan::Executable;
using plan::Instruction;
using plan::SlotId;

namespace {

// FLOPs that a byte on the wire, and a byte of state, are worth.
constexpr double kFlopsPerSentByte = 1.0;
constexpr double kFlopsPerStateByte = 0.01;
// Arithmetic is what tensor parallelism is asked for.
constexpr double kProductWeight = 100.0;

double Value(const StepPrice& price) {
  return kProductWeight * price.product_flops + kFlopsPerSentByte * price.sent_bytes + kFlopsPerStateByte * price.state_bytes;
}

void AddPrice(const Executable& executable, const cluster::Mesh& mesh, const std::vector<Instruction>& instructions,
              double times, StepPrice& price) {
  for (const Instruction& instruction : instructions) {
    if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
      AddPrice(executable, mesh, loop->body, times * static_cast<double>(loop->count), price);
    } else if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
      const Graph& graph = executable.programs[run->program].graph;
      for (const Op& op : graph.ops()) {
        if (graph::IsProduct(op.opcode)) price.product_flops += times * static_cast<double>(graph::CostOf(graph, op).flops);
        if (graph::IsCollective(op.opcode)) price.sent_bytes += times * CollectiveBytes(graph, op, GroupSize(op, mesh));
      }
    }
  }
}

struct Group {
  bool looked_up = false;      // first used as a table
  std::vector<int32_t> leaves;
  graph::Shape shape;  // of the leaf's tile
};

// Leaves that matrix products and lookups read, by likeness, in order of first use; tables last: how a table is cut says how all
// that follows lies, and is better fitted to the products than they to it.
class Weights {
 public:
  Weights(const Executable& executable, int32_t mesh) : executable_(executable), list_(executable.mesh_programs[mesh]) {}

  std::vector<Group> Find() {
    Visit(list_.instructions);
    std::stable_partition(groups_.begin(), groups_.end(), [](const Group& group) { return !group.looked_up; });
    return std::move(groups_);
  }

 private:
  void Visit(const std::vector<Instruction>& instructions) {
    for (const Instruction& instruction : instructions) {
      if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) Visit(loop->body);
      if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) Visit(*run);
    }
  }

  void Visit(const plan::RunInstruction& run) {
    const Graph& graph = executable_.programs[run.program].graph;
    std::vector<int> slot_of(graph.values().size(), -1);  // whose bytes a value is, rearranged
    for (size_t p = 0; p < run.inputs.size(); ++p) {
      if (!run.inputs[p].valid()) continue;
      const int input = run.inputs[p].value();
      const auto rearranged = state_of_.find(input);
      if (list_.slots[input].kind == plan::Slot::Kind::kState) slot_of[graph.parameters()[p].value()] = input;
      else if (rearranged != state_of_.end()) slot_of[graph.parameters()[p].value()] = rearranged->second;
    }
    for (const Op& op : graph.ops()) {
      switch (op.opcode) {
        case Opcode::kReshape: case Opcode::kTranspose: case Opcode::kConvert: case Opcode::kCopy: case Opcode::kBroadcast:
          slot_of[op.results[0].value()] = slot_of[op.operands[0].value()];
          break;
        case Opcode::kDot: case Opcode::kConvolution: case Opcode::kGather:
          for (size_t i = 0; i < op.operands.size(); ++i) {
            const int slot = slot_of[op.operands[i].value()];
            if (slot < 0) continue;
            Add(slot, absl::StrCat(graph::NameOf(op.opcode), i, graph.shape(op.results[0]).ToString()), op.opcode == Opcode::kGather);
          }
          break;
        default: break;
      }
    }
    // A weight that is converted once, ahead of the loop that reads it.
    for (size_t r = 0; r < run.outputs.size(); ++r) {
      const int output = run.outputs[r].value(), of = slot_of[graph.results()[r].value()];
      if (of >= 0 && list_.slots[output].kind == plan::Slot::Kind::kTemporary) state_of_.emplace(output, of);
    }
  }

  void Add(int slot, const std::string& use, bool looked_up) {
    if (!seen_.insert(slot).second) return;
    const plan::Slot& weight = list_.slots[slot];
    const auto [it, added] = group_of_.try_emplace(absl::StrCat(weight.shape.ToString(), " ", use), groups_.size());
    if (added) groups_.push_back({looked_up, {}, weight.shape});
    groups_[it->second].leaves.push_back(weight.leaf);
  }

  const Executable& executable_;
  const plan::MeshProgram& list_;
  std::map<int, int> state_of_;  // temporary slot -> state slot whose bytes it holds
  std::set<int> seen_;
  std::map<std::string, size_t> group_of_;
  std::vector<Group> groups_;
};

}  // namespace

StepPrice PriceOf(const Executable& executable, MeshId mesh) {
  StepPrice price;
  const plan::MeshProgram& list = executable.mesh_programs[mesh.value()];
  AddPrice(executable, executable.meshes[mesh.value()], list.instructions, 1, price);
  for (const plan::Slot& slot : list.slots) {
    if (slot.kind == plan::Slot::Kind::kState) price.state_bytes += static_cast<double>(slot.shape.bytes());
  }
  return price;
}

namespace {

struct Choice {
  AxisRequest request;
  StepPrice price;
};

// How a group's best dimension is found, of those that lower the price.
enum class Taste {
  kLowest,   // that which lowers it most
  kThrifty,  // that which saves most arithmetic for a byte more on the wire: does not cut everything at once along what all share
};

double Thrift(const StepPrice& before, const StepPrice& after) {
  return (before.product_flops - after.product_flops) / std::max(1.0, after.sent_bytes - before.sent_bytes);
}

absl::StatusOr<Choice> ChooseOneByOne(const Executable& executable, const std::vector<Group>& groups, Choice best, Taste taste) {
  for (const Group& group : groups) {
    std::optional<Choice> chosen;
    for (int64_t dim = 0; dim < group.shape.rank(); ++dim) {
      if (!CanSplit(group.shape.dims, dim, 1, best.request.size)) continue;
      Choice candidate{best.request, {}};
      for (int32_t leaf : group.leaves) candidate.request.cuts.push_back({leaf, dim, plan::CutRank::kPinned});
      ALPA_ASSIGN_OR_RETURN(const Executable cut, CutAlongAxis(executable, candidate.request));
      candidate.price = PriceOf(cut, best.request.mesh);
      if (Value(candidate.price) >= Value(best.price)) continue;
      const bool better = !chosen || (taste == Taste::kThrifty && Thrift(best.price, candidate.price) != Thrift(best.price, chosen->price)
                                          ? Thrift(best.price, candidate.price) > Thrift(best.price, chosen->price)
                                          : Value(candidate.price) < Value(chosen->price));
      if (better) chosen = std::move(candidate);
    }
    if (chosen) best = *std::move(chosen);
  }
  return best;
}

}  // namespace

absl::StatusOr<AxisRequest> ChooseTensorCuts(const Executable& executable, AxisRequest request) {
  std::set<int32_t> given;
  for (const plan::Cut& cut : request.cuts) given.insert(cut.leaf);
  std::vector<Group> groups = Weights(executable, request.mesh.value()).Find();
  for (Group& group : groups) std::erase_if(group.leaves, [&](int32_t leaf) { return given.contains(leaf); });
  std::erase_if(groups, [](const Group& group) { return group.leaves.empty(); });
  ALPA_ASSIGN_OR_RETURN(const Executable plain, CutAlongAxis(executable, request));
  const Choice start{request, PriceOf(plain, request.mesh)};
  ALPA_ASSIGN_OR_RETURN(Choice lowest, ChooseOneByOne(executable, groups, start, Taste::kLowest));
  ALPA_ASSIGN_OR_RETURN(Choice thrifty, ChooseOneByOne(executable, groups, start, Taste::kThrifty));
  return Value(thrifty.price) < Value(lowest.price) ? std::move(thrifty.request) : std::move(lowest.request);
}

}  // namespace alpa::planner
