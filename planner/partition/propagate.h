// Finds the states of all values of one program along one mesh axis from the states of its parameters.
//
// Model:  Propagation visits the ops in order. The rule table gives the states in which an op needs its operands, and
//         the resulting states of its results. If several operands are split, only those with the highest *rank* decide
//         the rule. A pinned cut (a tensor-parallel weight) beats a split of the batch. A split of the batch beats a
//         split that only describes how a value is stored (ZeRO). If an op needs the reduced value of a partial sum,
//         this value is replicated (an all-reduce) or, if the options request it, split (a reduce-scatter). An op with
//         a pinned result follows the pin, and the result then ranks as a pinned cut.
// Source: GSPMD's propagation (arXiv 2105.04663), but only the forward direction. The states that readers need are
//         handled when programs are written (graph_partition.h).
#pragma once

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "plan/plan.h"
#include "planner/partition/conversion.h"
#include "planner/strategy/rules.h"

namespace alpa::planner {

struct ValueState {
  AxisState state;
  plan::CutRank rank = plan::CutRank::kStored;  // rank of a split
  bool zero = false;                            // whether the value is known to be zero everywhere
  bool operator==(const ValueState&) const = default;
};

struct PropagateOptions {
  MeshAxis axis;
  // If a partial sum has at least this number of elements, its reduced value is split over the axis, provided that the
  // axis size divides one of the dimensions. 0: never.
  int64_t reduce_scatter_from = 0;
  // If not null: the states of the program's values in another propagation. If a value is partial here and split in the
  // other propagation, its reduced value is split as in the other propagation, whatever its size.
  const std::vector<ValueState>* reduce_scatter_like = nullptr;
  // The pins of this program. REQUIRES: CheckPins accepts them.
  std::vector<plan::ValuePin> pins;
  // If not null: one entry per op, the rule that the op follows, whatever the rule table prefers. `Propagation::pins`
  // then lists the ops for which the table prefers another rule.
  const std::vector<OpRule>* like = nullptr;
};

struct Propagation {
  std::vector<ValueState> values;  // one entry per value
  std::vector<OpRule> rules;       // one entry per op
  // The pins that give the same result without `like`. Their `program` is not set.
  std::vector<plan::ValuePin> pins;
};

// Finds the state of each value and the rule of each op. `parameters`: one entry per program parameter.
Propagation Propagate(const graph::Graph& program, const std::vector<ValueState>& parameters,
                      const PropagateOptions& options);

// Returns kInvalidArgument if a pin names a value that does not exist, a parameter, or a state that the value's op
// cannot produce. Also returns kInvalidArgument if two pins name results of the same op. Otherwise returns OK.
absl::Status CheckPins(const graph::Graph& program, const MeshAxis& axis, const std::vector<plan::ValuePin>& pins);

// Returns the rule table's context for `program`. `values` must outlive the context.
RuleContext ContextOf(const graph::Graph& program, const MeshAxis& axis, const std::vector<ValueState>& values);

// Clears `zero` of the values that are zero only because a parameter is zero. An accumulator is such a parameter: it is
// only zero in the first iteration.
void ForgetZeroParameters(const graph::Graph& program, std::vector<ValueState>& values);

// Returns the dimension along which a stored array of `dims` is split: the first one that `n` divides. Returns nullopt
// if `n` divides no dimension.
std::optional<int64_t> StoredDim(const std::vector<int64_t>& dims, int64_t n);

}  // namespace alpa::planner
