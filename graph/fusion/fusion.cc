#include "graph/fusion/fusion.h"

#include <algorithm>
#include <set>
#include <utility>

namespace alpa::fusion {
namespace {

using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;

constexpr int kMaxGroupOps = 160;  // maximum number of ops, so that a group's registers fit into the first-level cache
constexpr int64_t kMinRun = 16;    // elements; a transpose with shorter runs gets a separate kernel
constexpr int kMaxRecomputed = 6;  // additions; a value that needs more work than this is not recomputed
constexpr int kNever = 1000;       // work of an op that is never recomputed; must be above kMaxRecomputed

bool IsElement(const Graph& g, const Op& op, const Computes& computes) {
  if (!graph::IsElementwise(op.opcode) || op.operands.empty()) return false;
  const int64_t n = g.shape(op.results[0]).elements();
  for (ValueId id : op.operands) {
    const int64_t m = g.shape(id).elements();
    if (m != n && m != 1) return false;
  }
  if (op.opcode == Opcode::kConvert) return true;
  const size_t typed = op.opcode == Opcode::kSelect ? 1 : 0;
  return !computes || computes(op, g.shape(op.operands[typed]).dtype);
}

Role RoleOf(const Graph& g, const Op& op, const Computes& computes) {
  switch (op.opcode) {
    case Opcode::kParameter:
    case Opcode::kConstant:
      return Role::kNothing;
    case Opcode::kIota:
      return Role::kIota;
    case Opcode::kBroadcast:
    case Opcode::kSlice:
    case Opcode::kReverse:
      return Role::kView;
    case Opcode::kTranspose:
      return IsCopiedTranspose(g, op) ? Role::kOther : Role::kView;
    case Opcode::kReduce:
      return LayoutOf(g, op).has_value() ? Role::kReduce : Role::kOther;
    default:
      break;
  }
  if (IsSameBytes(g, op)) return Role::kNothing;
  return IsElement(g, op, computes) ? Role::kElement : Role::kOther;
}

// Returns the work of an elementwise op, in additions, or kNever.
int WorkOf(const Graph& g, const Op& op) {
  if (!graph::IsFloat(g.shape(op.results[0]).dtype) &&
      (op.opcode == Opcode::kDivide || op.opcode == Opcode::kRemainder))
    return kNever;
  switch (op.opcode) {
    case Opcode::kAbs:
    case Opcode::kNegate:
    case Opcode::kNot:
    case Opcode::kIsFinite:
    case Opcode::kConvert:
    case Opcode::kAdd:
    case Opcode::kSubtract:
    case Opcode::kMultiply:
    case Opcode::kMaximum:
    case Opcode::kMinimum:
    case Opcode::kAnd:
    case Opcode::kOr:
    case Opcode::kXor:
    case Opcode::kCompare:
    case Opcode::kSelect:
      return 1;
    case Opcode::kDivide:
    case Opcode::kSqrt:
    case Opcode::kRsqrt:
      return 2;
    case Opcode::kExp:
      return 4;
    default:
      return kNever;
  }
}

class Planner {
 public:
  Planner(const Graph& graph, const Computes& computes) : g_(graph), computes_(computes) {}

  FusionPlan Run() {
    Roots();
    Liveness();
    Users();
    Group();
    return Order();
  }

 private:
  int Root(ValueId id) const { return plan_.root[id.value()]; }

  void Roots() {
    plan_.root.resize(g_.values().size());
    for (size_t v = 0; v < plan_.root.size(); ++v) plan_.root[v] = static_cast<int>(v);
    for (const Op& op : g_.ops()) {
      plan_.roles.push_back(RoleOf(g_, op, computes_));
      if (!IsSameBytes(g_, op)) continue;
      for (size_t i = 0; i < op.results.size(); ++i) plan_.root[op.results[i].value()] = Root(op.operands[i]);
    }
  }

  int DefiningOp(int value) const { return g_.values()[value].op.value(); }

  void Liveness() {
    std::vector<bool> live(g_.size(), false);
    is_result_.assign(g_.values().size(), false);
    for (ValueId id : g_.results()) {
      is_result_[Root(id)] = true;
      live[DefiningOp(Root(id))] = true;
    }
    for (int i = g_.size() - 1; i >= 0; --i) {
      if (!live[i]) {
        plan_.roles[i] = Role::kNothing;
        continue;
      }
      for (ValueId id : g_.ops()[i].operands) live[DefiningOp(Root(id))] = true;
    }
  }

  struct Use {
    int op;
    bool linear;     // whether iteration i of the group reads element i of the value
    bool same_type;  // whether the op reads the value in the value's element type
  };

  // Records the readers of each root, both those that read it from memory and those in its own group. A root is the
  // first of several values with the same bytes. A read through a view counts as a read of the view's operand.
  void Users() {
    users_.resize(g_.values().size());
    stored_.assign(g_.size(), false);
    for (int i = g_.size() - 1; i >= 0; --i) {
      const Role role = plan_.roles[i];
      if (role == Role::kNothing) continue;
      const Op& op = g_.ops()[i];
      const bool tile = role == Role::kElement || role == Role::kReduce;
      if (role == Role::kView || role == Role::kIota) {
        // The loop visits ops from last to first, so it has already visited all readers of this op.
        stored_[i] = stored_[i] || is_result_[op.results[0].value()];
        if (role == Role::kView && stored_[i]) users_[Root(op.operands[0])].push_back({i, false, false});
        if (role == Role::kView) StoreOperand(op);
        continue;
      }
      const int64_t n =
          role == Role::kReduce ? g_.shape(op.operands[0]).elements() : g_.shape(op.results[0]).elements();
      const bool reordered = role == Role::kReduce && LayoutOf(g_, op)->order.has_value();
      for (size_t k = 0; k < op.operands.size(); ++k) {
        const int v = Root(op.operands[k]);
        const int definition = DefiningOp(v);
        const Role source = plan_.roles[definition];
        const bool same_size =
            g_.shape(op.operands[k]).elements() == n && !(role == Role::kReduce && (k > 0 || reordered));
        // An op that reads a value as another element type reads the value from memory, unless the same group computes
        // it.
        const bool same_type = g_.shape(op.operands[k]).dtype == g_.values()[v].shape.dtype;
        if (tile && same_size && same_type && source == Role::kView) {
          users_[Root(g_.ops()[definition].operands[0])].push_back({i, false, false});
        } else if (tile && same_size && same_type && source == Role::kIota) {
          // The group computes the iota, so it reads no value.
        } else {
          if (source == Role::kView || source == Role::kIota) stored_[definition] = true;
          users_[v].push_back({i, tile && same_size, same_type});
        }
      }
    }
  }

  // Marks the operand of `view` as stored. The operand must be in memory, even if the operand is itself a view or an
  // iota.
  void StoreOperand(const Op& view) {
    const int definition = DefiningOp(Root(view.operands[0]));
    const Role role = plan_.roles[definition];
    if (role == Role::kView || role == Role::kIota) stored_[definition] = true;
  }

  struct Group_ {
    int last;
    int64_t n;
    std::vector<int> ops;
  };

  void Group() {
    group_of_.assign(g_.size(), -1);
    for (int i = g_.size() - 1; i >= 0; --i) {
      const Role role = plan_.roles[i];
      if (role == Role::kNothing || (stored_[i] == false && (role == Role::kView || role == Role::kIota))) continue;
      const Op& op = g_.ops()[i];
      if (role == Role::kElement) {
        const int64_t n = g_.shape(op.results[0]).elements();
        const int join = GroupToJoin(op.results[0].value(), n);
        if (join >= 0) {
          groups_[join].ops.push_back(i);
          group_of_[i] = join;
          continue;
        }
      }
      const int64_t n =
          role == Role::kReduce ? g_.shape(op.operands[0]).elements() : g_.shape(op.results[0]).elements();
      group_of_[i] = static_cast<int>(groups_.size());
      groups_.push_back({i, n, {i}});
    }
  }

  // Returns the group that the elementwise op of `value` joins, or -1 if the op joins no group.
  int GroupToJoin(int value, int64_t n) const {
    int earliest = -1;
    for (const Use& use : users_[value]) {
      const int group = group_of_[use.op];
      if (earliest < 0 || groups_[group].last < groups_[earliest].last) earliest = group;
    }
    if (earliest < 0) return -1;
    const Group_& group = groups_[earliest];
    const Role role = plan_.roles[group.last];
    if (role != Role::kElement && role != Role::kReduce) return -1;
    if (group.n != n || static_cast<int>(group.ops.size()) >= kMaxGroupOps) return -1;
    for (const Use& use : users_[value]) {
      if (group_of_[use.op] == earliest && !use.linear) return -1;
    }
    return earliest;
  }

  FusionPlan Order() {
    std::sort(groups_.begin(), groups_.end(), [](const Group_& a, const Group_& b) { return a.last < b.last; });
    std::vector<int> unit_of(g_.size(), -1);
    for (Group_& group : groups_) {
      std::sort(group.ops.begin(), group.ops.end());
      for (int i : group.ops) unit_of[i] = static_cast<int>(plan_.units.size());
      const Role role = plan_.roles[group.last];
      const bool fused = role == Role::kElement || role == Role::kReduce || role == Role::kIota;
      plan_.units.push_back({std::move(group.ops), fused, group.n});
    }
    plan_.needed = is_result_;
    for (size_t v = 0; v < users_.size(); ++v) {
      for (const Use& use : users_[v]) {
        if (unit_of[use.op] != unit_of[DefiningOp(static_cast<int>(v))]) plan_.needed[v] = true;
      }
    }
    Recompute(unit_of);
    return std::move(plan_);
  }

  void Recompute(const std::vector<int>& unit_of) {
    plan_.recomputed.assign(g_.values().size(), false);
    last_read_.assign(g_.values().size(), -1);
    for (size_t v = 0; v < users_.size(); ++v) {
      for (const Use& use : users_[v]) last_read_[v] = std::max(last_read_[v], unit_of[use.op]);
      if (is_result_[v]) last_read_[v] = static_cast<int>(plan_.units.size());
    }
    // The loop visits producers before readers, so it has already decided which operands are in memory.
    for (const Op& op : g_.ops()) {
      if (op.results.empty()) continue;
      const int v = op.results[0].value();
      const int own = unit_of[DefiningOp(v)];
      if (!plan_.needed[v] || is_result_[v] || own < 0) continue;
      if (plan_.roles[DefiningOp(v)] != Role::kElement || plan_.units[own].n <= 1) continue;
      const bool fits = std::all_of(users_[v].begin(), users_[v].end(), [&](const Use& use) {
        const Unit& unit = plan_.units[unit_of[use.op]];
        return use.linear && use.same_type && unit.fused && unit.n == plan_.units[own].n;
      });
      std::vector<int> values;
      if (!fits || WorkToRecompute(v, unit_of, last_read_[v], values) > kMaxRecomputed) continue;
      plan_.needed[v] = false;
      for (int value : values) plan_.recomputed[value] = true;
    }
    for (Unit& unit : plan_.units) {
      if (unit.fused) Prune(unit);
    }
    std::erase_if(plan_.units, [](const Unit& unit) { return unit.ops.empty(); });
  }

  // Drops the ops whose values are neither stored nor read in the unit.
  void Prune(Unit& unit) const {
    std::set<int> used;
    std::vector<int> ops;
    for (size_t i = unit.ops.size(); i-- > 0;) {
      const Op& op = g_.ops()[unit.ops[i]];
      const int v = op.results[0].value();
      if (!plan_.needed[v] && used.count(v) == 0) continue;
      for (ValueId id : op.operands) used.insert(Root(id));
      ops.push_back(unit.ops[i]);
    }
    unit.ops.assign(ops.rbegin(), ops.rend());
  }

  // Returns the work of recomputing `v`, in additions. The recomputation reads only values that stay in memory until
  // unit `until` anyway. Appends `v` and the other recomputed values to `values`. A returned work of kNever or more
  // means that `v` cannot be recomputed.
  int WorkToRecompute(int v, const std::vector<int>& unit_of, int until, std::vector<int>& values) const {
    values.push_back(v);
    const int definition = DefiningOp(v);
    const Op& op = g_.ops()[definition];
    int work = WorkOf(g_, op);
    for (size_t k = 0; k < op.operands.size() && work <= kMaxRecomputed; ++k) {
      int r = Root(op.operands[k]);
      const bool same_type = g_.shape(op.operands[k]).dtype == g_.values()[r].shape.dtype;
      Role role = plan_.roles[DefiningOp(r)];
      if (role == Role::kIota && same_type) continue;
      if (role == Role::kView && same_type && g_.shape(op.operands[k]).elements() > 1) {
        r = Root(g_.ops()[DefiningOp(r)].operands[0]);
        role = plan_.roles[DefiningOp(r)];
        // If the operand is at most 1/16 of the view, as in a broadcast, the operand may stay in memory longer.
        if (g_.values()[r].shape.elements() * 16 <= g_.shape(op.operands[k]).elements()) continue;
      }
      const Opcode source = g_.ops()[DefiningOp(r)].opcode;
      if (source == Opcode::kConstant || g_.values()[r].shape.elements() == 1) continue;
      const bool in_memory = plan_.needed[r] || source == Opcode::kParameter;
      if (in_memory && last_read_[r] >= until) continue;
      const bool inside = role == Role::kElement && same_type && unit_of[DefiningOp(r)] == unit_of[definition];
      work += !in_memory && (inside || plan_.recomputed[r]) ? WorkToRecompute(r, unit_of, until, values) : kNever;
    }
    return work;
  }

  const Graph& g_;
  const Computes& computes_;
  FusionPlan plan_;
  std::vector<bool> is_result_;
  std::vector<std::vector<Use>> users_;  // one list per root
  std::vector<int> last_read_;           // one entry per root: the last unit that reads the root
  std::vector<bool> stored_;             // one entry per op: whether the op is a view or iota that must be in memory
  std::vector<int> group_of_;
  std::vector<Group_> groups_;
};

}  // namespace

FusionPlan PlanFusion(const Graph& graph, const Computes& computes) { return Planner(graph, computes).Run(); }

StorageProblem StorageOf(const Graph& graph, const FusionPlan& plan, const std::vector<int32_t>& alias) {
  StorageProblem problem;
  problem.constant.assign(graph.values().size(), false);
  for (const graph::Value& value : graph.values()) problem.sizes.push_back(value.shape.bytes());
  for (ValueId id : graph.parameters()) problem.parameters.push_back(id.value());
  for (const Op& op : graph.ops()) {
    if (op.opcode == Opcode::kConstant) problem.constant[op.results[0].value()] = true;
  }
  for (ValueId id : graph.results()) problem.results.push_back(plan.root[id.value()]);
  problem.alias = alias;
  return problem;
}

bool IsSameBytes(const Graph& graph, const Op& op) {
  switch (op.opcode) {
    case Opcode::kReshape:
    case Opcode::kOptimizationBarrier:
    case Opcode::kCopy:
    case Opcode::kBitcastConvert:
      return true;
    case Opcode::kConvert:
      return graph.shape(op.operands[0]).dtype == graph.shape(op.results[0]).dtype;
    default:
      return false;
  }
}

std::optional<ReduceLayout> LayoutOf(const Graph& graph, const Op& reduce) {
  if (reduce.results.size() != 1 || reduce.regions.empty()) return std::nullopt;
  const graph::ReduceKind* kind = graph::AsReduceKind(*reduce.regions[0]);
  const graph::Shape& in = graph.shape(reduce.operands[0]);
  if (kind == nullptr || in.dtype != graph.shape(reduce.results[0]).dtype) return std::nullopt;
  const bool bitwise = *kind == graph::ReduceKind::kAnd || *kind == graph::ReduceKind::kOr;
  if (bitwise && graph::IsFloat(in.dtype)) return std::nullopt;
  const auto& reduced = reduce.as<graph::DimsAttrs>().dims;
  // Sort the dimensions into [outer, reduced, inner].
  std::vector<int64_t> outer, middle, inner;
  for (int64_t d = 0; d < in.rank(); ++d) {
    if (in.dims[d] == 1) continue;
    if (std::find(reduced.begin(), reduced.end(), d) != reduced.end()) {
      outer.insert(outer.end(), inner.begin(), inner.end());
      inner.clear();
      middle.push_back(d);
    } else {
      inner.push_back(d);
    }
  }
  if (middle.empty()) std::swap(outer, inner);
  ReduceLayout layout;
  std::vector<int64_t> order = outer, dims, strides;
  order.insert(order.end(), middle.begin(), middle.end());
  order.insert(order.end(), inner.begin(), inner.end());
  const std::vector<int64_t> from = graph::Strides(in.dims);
  for (int64_t d : order) {
    dims.push_back(in.dims[d]);
    strides.push_back(from[d]);
  }
  for (int64_t d : outer) layout.outer *= in.dims[d];
  for (int64_t d : middle) layout.reduced *= in.dims[d];
  for (int64_t d : inner) layout.inner *= in.dims[d];
  if (!std::is_sorted(order.begin(), order.end()) && in.elements() > 0) layout.order = Collapsed(dims, strides, 0);
  return layout;
}

bool IsCopiedTranspose(const Graph& graph, const Op& op) {
  if (op.opcode != Opcode::kTranspose) return false;
  const View view = ViewOf(graph, op);
  return !view.dims.empty() && (view.strides.back() != 1 || view.dims.back() < kMinRun);
}

}  // namespace alpa::fusion
