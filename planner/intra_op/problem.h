// The cuts of an executable along one more mesh axis, as an optimisation problem. Each node takes one rule. A value is
// converted if a reader wants it in a state that its producer does not make. Rules and conversions have costs.
//
// Model:   A node is an op, or a slot that keeps a leaf. Each choice of a node wants each operand in a certain state,
//          makes each result in a certain state, and has its own cost.
//          A site is a value of a program. If its readers want states other than the state in which it is made, it is
//          converted once to each of these states. Readers that want the same state share the conversion.
//            from replicated: every conversion is free.
//            from split:      an all-gather if a reader wants the value replicated, otherwise one all-to-all for each
//                             other split.
//            from partial:    an all-reduce if a reader wants the reduced value, otherwise a reduce-scatter to the
//                             first split, and an all-to-all or reduce-scatter to each additional split.
//          In two cases the full value is computed first and every reader uses it: if this is cheaper, and if a split
//          is not in plain tiles (outer != 1). Exception: if such a split is the only state that readers want of a
//          partial sum, the sum is reduce-scattered to this split.
//          The total cost is the sum over choices and conversions. The cost of a choice or conversion is multiplied by
//          the number of times that it runs per step.
//          The memory of a solution is the sum of the memory of its choices.
// Exact:   Evaluate defines the cost. linear.h writes the same problem for the solver.
// Threads: value types and pure functions.
#pragma once

#include <limits>
#include <utility>
#include <vector>

#include "planner/strategy/axis_state.h"

namespace alpa::planner::intra_op {

// Cost of a conversion that is not allowed. As a memory limit: no limit.
inline constexpr double kForbidden = std::numeric_limits<double>::infinity();

struct Choice {
  double cost = 0;
  std::vector<int> wants;      // one entry per operand: a state, as its index in Problem::states
  std::vector<int> makes;      // one entry per result: a state, as its index in Problem::states
  std::vector<double> memory;  // one entry per row of Problem::memory_rows: bytes
  // The (node, choice) pairs that Tied or Presolved combined into this choice. Empty in an original problem.
  std::vector<std::pair<int, int>> parts;
};

struct Node {
  std::vector<Choice> choices;  // at least one; all choices have the same number of operands and results
};

struct Reader {
  int node = -1;
  int operand = -1;
  auto operator<=>(const Reader&) const = default;
};

// Costs of converting one value once, in any unit: all-gather, all-reduce, reduce-scatter, all-to-all.
struct MoveCosts {
  double gather = 0, reduce = 0, scatter = 0, exchange = 0;
  auto operator<=>(const MoveCosts&) const = default;
};

struct Site {
  int node = -1, result = -1;   // the producer
  std::vector<Reader> readers;
  bool returned = false;        // also an aux output, returned in plain tiles if it is made so, otherwise replicated
  bool rigid = false;           // if true, a split of this value may not be gathered or converted to another split
  double times = 1;             // how often it is made and converted per step
  MoveCosts costs;              // costs of its conversions, in the unit of the problem
  MoveCosts sent;               // bytes that each device sends
};

struct Problem {
  int64_t n = 1;                         // number of devices along the axis
  std::vector<AxisState> states = {{}};  // state 0 is replicated
  std::vector<Node> nodes;
  std::vector<Site> sites;
  int memory_rows = 0;                   // number of points in the step at which memory is limited
  double memory_limit = kForbidden;      // bytes per device; the same limit for every row

  int StateNumber(const AxisState& state);  // returns the state's index in `states`; adds a new state
};

// Returns the cost of converting one value from state `made`, once to each of the distinct states `wanted`. `wanted`
// may contain `made`. `costs`: the cost of one conversion of each kind. Returns kForbidden if a rigid value would have
// to be converted.
double ConversionCost(const Problem& problem, const Site& site, int made, const std::vector<int>& wanted,
                      const MoveCosts& costs);

struct Evaluation {
  double choices = 0;      // cost of the choices
  double conversions = 0;  // cost of the conversions
  double sent_bytes = 0;   // bytes that each device sends in conversions
  double memory = 0;       // bytes in the fullest row
  bool fits = true;        // within the memory limit
  double cost() const { return choices + conversions; }
};
// `chosen`: one choice per node.
Evaluation Evaluate(const Problem& problem, const std::vector<int>& chosen);

// Translates `chosen`, choices of `problem`, into choices of the problem from which Tied or Presolved made it. `count`:
// the number of nodes of that problem.
std::vector<int> ChoicesBefore(const Problem& problem, const std::vector<int>& chosen, size_t count);

}  // namespace alpa::planner::intra_op
