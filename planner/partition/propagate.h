// States of all values of one program along one mesh axis, from those of its parameters.
//
// Model:  op by op, the rule table says in which states an op wants its operands and what its results are then. Of the
//         operands that could lead, the one of the highest *rank* does: a split that a strategy asked for by name (a
//         tensor-parallel weight) before one that came with the batch, and that before one that only says where a value is
//         stored (ZeRO). Where an op needs the true value of a partial sum, that is replicated (an all-reduce), or, for
//         a stored axis, split (a reduce-scatter). A pinned value is made as its pin says, and then leads like a cut by name.
// Source: GSPMD's propagation (arXiv 2105.04663), forward only: what the backward wants is asked for when programs are
//         written (graph_partition.h).
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
  plan::CutRank rank = plan::CutRank::kStored;  // of a split
  bool zero = false;                    // known to be zero everywhere
  bool operator==(const ValueState&) const = default;
};

struct PropagateOptions {
  MeshAxis axis;
  // True values of partial sums of at least so many elements are split over the axis where a dimension divides. 0: never.
  int64_t reduce_scatter_from = 0;
  // Where not null: states of the program's values, of which splits say how true values are split rather.
  const std::vector<ValueState>* reduce_scatter_like = nullptr;
  // Of this program; CheckPins is OK.
  std::vector<plan::ValuePin> pins;
  // Where not null: rules by op that are followed whatever the table says; Propagation::pins then tells where it says otherwise.
  const std::vector<OpRule>* like = nullptr;
};

struct Propagation {
  std::vector<ValueState> values;  // by value
  std::vector<OpRule> rules;       // by op
  std::vector<plan::ValuePin> pins;  // with which the same comes out without `like`; their program is not set
};

// `parameters`: by program parameter.
Propagation Propagate(const graph::Graph& program, const std::vector<ValueState>& parameters, const PropagateOptions& options);

// OK, or kInvalidArgument: a pin of a value that is not there or that is a parameter, or of a state that its op cannot make.
absl::Status CheckPins(const graph::Graph& program, const MeshAxis& axis, const std::vector<plan::ValuePin>& pins);

// The rule table's context for `program`; `values` must outlive it.
RuleContext ContextOf(const graph::Graph& program, const MeshAxis& axis, const std::vector<ValueState>& values);

// Takes back which values are zero because a parameter is: an accumulator is, but only before it is first added to.
void ForgetZeroParameters(const graph::Graph& program, std::vector<ValueState>& values);

// The dimension over which a stored array of `dims` is cut: the first that `n` divides; nothing where none does.
std::optional<int64_t> StoredDim(const std::vector<int64_t>& dims, int64_t n);

}  // namespace alpa::planner
