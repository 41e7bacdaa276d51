// The rule table: how each op carries splits and partial sums along an axis. One table for the microbatch axis, for
// choosing strategies and for lowering.
//
// A rule says in which state the op wants each operand, and in which state its results are then. Where an operand is in
// another state it must be converted: replicated -> split by slicing (always legal); split or partial -> replicated by
// taking its true value, which only a synchronisation of all chunks gives.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "graph/graph.h"
#include "planner/strategy/axis_state.h"

namespace alpa::planner {

struct OpRule {
  std::vector<AxisState> operands;  // wanted
  std::vector<AxisState> results;
  bool operator==(const OpRule&) const = default;
};

// What the rules ask about operands besides their states.
struct RuleContext {
  const graph::Graph* graph = nullptr;
  int64_t chunks = 1;
  // The value is known to be zero everywhere (so that it is also a partial sum).
  std::function<bool(graph::ValueId)> is_zero;
  // Gathers and scatters may be cut along a dimension that they index: worth it in space, where every device works on its
  // slice at once, and not in time.
  bool cut_indexed = false;
};

// Whether `op`, a gather or scatter, takes single elements along dimension `dim` of its first operand by index.
bool IndexesAlong(const graph::Graph& program, const graph::Op& op, int64_t dim);

// The rule that keeps most of what `states` (of the op's operands, as they are) already split: results stay split or
// partial where the op allows it, at the price of true values of the operands whose wanted state differs. An op that
// cannot work on chunks wants everything replicated.
OpRule ChooseRule(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& states);

// The operand states from which the op computes one chunk's slice of its (single) result in `result` state, or nothing
// where it cannot without the whole: how a slice sinks through cheap replicated ops towards their operands.
std::optional<std::vector<AxisState>> OperandsForSlice(const RuleContext& context, const graph::Op& op,
                                                       const AxisState& result);

}  // namespace alpa::planner
