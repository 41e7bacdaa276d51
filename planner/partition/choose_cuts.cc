#include "planner/partition/choose_cuts.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/cost.h"
#include "planner/cost/collective_cost.h"
#include "planner/cost/fixed_costs.h"

namespace alpa::planner {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using plan::Executable;
using plan::Instruction;
using plan::SlotId;

namespace {

double Value(const StepCost& cost) {
  return kProductFlopCost * cost.product_flops + cost.sent_bytes + kStateByteCost * cost.state_bytes;
}

// Adds to `cost` the cost of running the instructions `times` times. `program` returns the graph of the program with a
// given number.
template <typename ProgramFn>
void AddCost(const std::vector<Instruction>& instructions, double times, const ProgramFn& program,
             const cluster::Mesh& mesh, StepCost& cost) {
  for (const Instruction& instruction : instructions) {
    if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
      AddCost(loop->body, times * static_cast<double>(loop->count), program, mesh, cost);
    } else if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
      const Graph& graph = program(run->program);
      for (const Op& op : graph.ops()) {
        if (graph::IsProduct(op.opcode)) {
          cost.product_flops += times * static_cast<double>(graph::CostOf(graph, op).flops);
        }
        if (graph::IsCollective(op.opcode)) cost.sent_bytes += times * CollectiveBytes(graph, op, GroupSize(op, mesh));
      }
    }
  }
}

struct Group {
  bool looked_up = false;      // whether the first op that reads a leaf of the group is a gather
  std::vector<int32_t> leaves;
  graph::Shape shape;  // shape of the tile of each leaf
};

// Finds the leaves that matrix products and gathers read, in groups of leaves that look alike. The groups are in the
// order of first use, but tables (groups that a gather uses first) come last. The cut of a table decides the states of
// all values after the table. This cut is therefore chosen last, so that it suits the matrix products.
class Weights {
 public:
  Weights(const Executable& executable, int32_t mesh)
      : executable_(executable), list_(executable.mesh_programs[mesh]) {}

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
    std::vector<int> slot_of(graph.values().size(), -1);  // one entry per value: its slot; -1: none
    for (size_t p = 0; p < run.inputs.size(); ++p) {
      if (!run.inputs[p].valid()) continue;
      const int input = run.inputs[p].value();
      const auto rearranged = state_of_.find(input);
      if (list_.slots[input].kind == plan::Slot::Kind::kState) slot_of[graph.parameters()[p].value()] = input;
      else if (rearranged != state_of_.end()) slot_of[graph.parameters()[p].value()] = rearranged->second;
    }
    for (const Op& op : graph.ops()) {
      switch (op.opcode) {
        case Opcode::kReshape: case Opcode::kTranspose: case Opcode::kConvert: case Opcode::kCopy:
        case Opcode::kBroadcast:
          slot_of[op.results[0].value()] = slot_of[op.operands[0].value()];
          break;
        case Opcode::kDot: case Opcode::kConvolution: case Opcode::kGather:
          for (size_t i = 0; i < op.operands.size(); ++i) {
            const int slot = slot_of[op.operands[i].value()];
            if (slot < 0) continue;
            Add(slot, absl::StrCat(graph::NameOf(op.opcode), i, graph.shape(op.results[0]).ToString()),
                op.opcode == Opcode::kGather);
          }
          break;
        default: break;
      }
    }
    // A temporary may hold a weight that is converted once, before the loop that reads it.
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
  std::map<int, int> state_of_;  // key: temporary slot; value: the state slot whose contents it holds
  std::set<int> seen_;
  std::map<std::string, size_t> group_of_;
  std::vector<Group> groups_;
};

}  // namespace

StepCost StepCostOf(const Executable& executable, MeshId mesh) {
  StepCost cost;
  const plan::MeshProgram& list = executable.mesh_programs[mesh.value()];
  const auto program = [&](int32_t p) -> const Graph& { return executable.programs[p].graph; };
  AddCost(list.instructions, 1, program, executable.meshes[mesh.value()], cost);
  for (const plan::Slot& slot : list.slots) {
    if (slot.kind == plan::Slot::Kind::kState) cost.state_bytes += static_cast<double>(slot.shape.bytes());
  }
  return cost;
}

namespace {

// The criterion for the choice between several dimensions of a group, each of which lowers the cost of the step.
enum class Taste {
  kLowest,   // take the dimension with the lowest cost
  kThrifty,  // take the dimension that saves the most FLOPs per additional byte sent
};

double Thrift(const StepCost& before, const StepCost& after) {
  return (before.product_flops - after.product_flops) / std::max(1.0, after.sent_bytes - before.sent_bytes);
}

bool IsBetter(const StepCost& one, const StepCost& other, const StepCost& before, Taste taste) {
  if (taste == Taste::kThrifty && Thrift(before, one) != Thrift(before, other)) {
    return Thrift(before, one) > Thrift(before, other);
  }
  return Value(one) < Value(other);
}

class Chooser {
 public:
  Chooser(const Executable& executable, const AxisRequest& request)
      : executable_(executable), request_(request), groups_(Weights(executable, request.mesh.value()).Find()) {
    std::set<int32_t> given;
    for (const plan::Cut& cut : request.cuts) given.insert(cut.leaf);
    for (Group& group : groups_) std::erase_if(group.leaves, [&](int32_t leaf) { return given.contains(leaf); });
    std::erase_if(groups_, [](const Group& group) { return group.leaves.empty(); });
  }

  absl::StatusOr<AxisRequest> Choose() {
    ALPA_ASSIGN_OR_RETURN(Dims lowest, ChooseOneByOne(Taste::kLowest));
    ALPA_ASSIGN_OR_RETURN(Dims thrifty, ChooseOneByOne(Taste::kThrifty));
    return RequestWith(Value(costs_.at(thrifty)) < Value(costs_.at(lowest)) ? thrifty : lowest);
  }

 private:
  using Dims = std::vector<int64_t>;  // one entry per group: the dimension to cut; -1: no cut

  absl::StatusOr<Dims> ChooseOneByOne(Taste taste) {
    Dims best(groups_.size(), -1);
    ALPA_ASSIGN_OR_RETURN(StepCost cost, CostOf(best));
    for (size_t g = 0; g < groups_.size(); ++g) {
      const Dims before = best;
      const StepCost cost_before = cost;
      for (int64_t dim = 0; dim < groups_[g].shape.rank(); ++dim) {
        if (!CanSplit(groups_[g].shape.dims, dim, 1, request_.size) || IsReserved(groups_[g], dim)) continue;
        Dims dims = before;
        dims[g] = dim;
        ALPA_ASSIGN_OR_RETURN(const StepCost candidate, CostOf(dims));
        if (Value(candidate) >= Value(cost_before)) continue;
        if (best != before && !IsBetter(candidate, cost, cost_before, taste)) continue;
        best = std::move(dims);
        cost = candidate;
      }
    }
    return best;
  }

  bool IsReserved(const Group& group, int64_t dim) const {
    return std::any_of(group.leaves.begin(), group.leaves.end(),
                       [&](int32_t leaf) { return request_.IsReserved(leaf, dim); });
  }

  AxisRequest RequestWith(const Dims& dims) const {
    AxisRequest request = request_;
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (dims[g] < 0) continue;
      for (int32_t leaf : groups_[g].leaves) request.cuts.push_back({leaf, dims[g], plan::CutRank::kPinned});
    }
    return request;
  }

  absl::StatusOr<StepCost> CostOf(const Dims& dims) {
    if (const auto known = costs_.find(dims); known != costs_.end()) return known->second;
    ALPA_ASSIGN_OR_RETURN(const AxisDraft draft, DraftAlongAxis(executable_, RequestWith(dims)));
    StepCost cost;
    const plan::MeshProgram& list = executable_.mesh_programs[request_.mesh.value()];
    cluster::Mesh mesh = executable_.meshes[request_.mesh.value()];
    mesh.shape.push_back(request_.size);
    AddCost(list.instructions, 1, [&](int32_t p) -> const Graph& { return draft.programs.at(p); }, mesh, cost);
    for (size_t s = 0; s < list.slots.size(); ++s) {
      if (list.slots[s].kind == plan::Slot::Kind::kState) {
        cost.state_bytes += static_cast<double>(draft.slots[s].bytes());
      }
    }
    return costs_[dims] = cost;
  }

  const Executable& executable_;
  const AxisRequest& request_;
  std::vector<Group> groups_;
  std::map<Dims, StepCost> costs_;
};

}  // namespace

absl::StatusOr<AxisRequest> ChooseTensorCuts(const Executable& executable, const AxisRequest& request) {
  return Chooser(executable, request).Choose();
}

}  // namespace alpa::planner
