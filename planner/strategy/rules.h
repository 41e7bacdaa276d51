// The rule table: how each op carries splits and partial sums along one axis. The analysis of the microbatch axis, the
// choice of shardings and the lowering all use this table.
//
// A rule gives the state in which the op needs each operand, and the resulting state of each result. An operand in
// another state must be converted. Replicated -> split is a slice and always legal. Split or partial -> replicated
// computes the full value, and therefore synchronises all chunks.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "graph/graph.h"
#include "planner/strategy/axis_state.h"

namespace alpa::planner {

struct OpRule {
  std::vector<AxisState> operands;  // the states that the op needs
  std::vector<AxisState> results;
  bool operator==(const OpRule&) const = default;
};

// Facts about operands that the rules use in addition to the operands' states.
struct RuleContext {
  const graph::Graph* graph = nullptr;
  int64_t chunks = 1;
  // Returns whether the value is known to be zero everywhere. Such a value is also a valid partial sum.
  std::function<bool(graph::ValueId)> is_zero;
  // True if gathers and scatters may be split along a dimension that they index. On a mesh axis, this saves time,
  // because all devices work on their slices at the same time. On the microbatch axis, it saves nothing.
  bool cut_indexed = false;
};

// Returns the type in which partial values of `dtype` are stored: f32 for 16-bit floats, otherwise `dtype`.
graph::DType Widened(graph::DType dtype);

// Returns whether the gather or scatter `op` selects single elements by index along dimension `dim` of its first
// operand.
bool IndexesAlong(const graph::Graph& program, const graph::Op& op, int64_t dim);

// Returns the rule that keeps most of the existing sharding. `states`: the current states of the operands. Results stay
// split or partial if the op allows it. An operand that the rule needs in another state must be converted, which may
// require its full value. An op that cannot work on chunks needs everything replicated.
OpRule ChooseRule(const RuleContext& context, const graph::Op& op, const std::vector<AxisState>& states);

// Returns the operand states from which the op computes one chunk's slice of its single result. `result`: the split
// that defines the slice. Returns nullopt if the op can only slice its full result. Callers that slice the operands of
// a cheap replicated op, instead of its result, use these states.
std::optional<std::vector<AxisState>> OperandsForSlice(const RuleContext& context, const graph::Op& op,
                                                       const AxisState& result);

}  // namespace alpa::planner
