// Cutting an executable along one more mesh axis as a choice among rules: nodes that each take one, values that are converted
// where what an op wants is not what another makes, a price.
//
// Model:  A node is an op (or a slot that keeps a leaf). Each of its choices wants every operand in a state, makes every result in a
//         state, and costs something itself. A site is a value in a program: what its readers want beside the state that it is made in
//         is converted once, whoever wants it. From a replicated value everything else is had for nothing. A split one is
//         gathered if it is wanted whole, else sent around (all-to-all) for each other split; a partial sum is reduced if wanted
//         whole, else reduce-scattered, and from there sent around; whole first wherever that is cheaper.
//         Total = choices + conversions, each counted as often as it happens in a step. Memory is linear in the choices.
// Exact:  Evaluate is the definition; what the solver sees (linear.h) is another way to write the same.
// Threads: value types and pure functions.
#pragma once

#include <limits>
#include <utility>
#include <vector>

#include "planner/strategy/axis_state.h"

namespace alpa::planner::intra_op {

inline constexpr double kForbidden = std::numeric_limits<double>::infinity();

struct Choice {
  double cost = 0;
  std::vector<int> wants;       // by operand: a state's number in Problem::states
  std::vector<int> makes;       // by result
  std::vector<double> memory;   // bytes, by row of Problem::memory_rows
  // Node and choice of the problem that this one was made from (ties.h, presolve.h); empty in the first.
  std::vector<std::pair<int, int>> parts;
};

struct Node {
  std::vector<Choice> choices;  // at least one; all with as many operands and results
};

struct Reader {
  int node = -1;
  int operand = -1;
  auto operator<=>(const Reader&) const = default;
};

// Of moving one value once, in whatever unit.
struct MoveCosts {
  double gather = 0, reduce = 0, scatter = 0, exchange = 0;
  auto operator<=>(const MoveCosts&) const = default;
};

struct Site {
  int node = -1, result = -1;
  std::vector<Reader> readers;
  bool returned = false;        // also wanted as it can be returned: in a plain tile where it is made so, whole otherwise
  bool rigid = false;           // may not be gathered or sent around once it is split
  double times = 1;             // in a step
  MoveCosts costs;            // in the problem's unit
  MoveCosts sent;              // in bytes that a device sends
};

struct Problem {
  int64_t n = 1;                          // devices along the axis
  std::vector<AxisState> states = {{}};   // state 0 is replicated
  std::vector<Node> nodes;
  std::vector<Site> sites;
  int memory_rows = 0;                    // places where memory may run short
  double memory_limit = kForbidden;       // of each, on one device

  int StateNumber(const AxisState& state);  // added where it is new
};

// Of one value made in state `made` with the distinct states `wanted` (made itself may be among them); by `prices`. kForbidden where
// a rigid one would move.
double ConversionCost(const Problem& problem, const Site& site, int made, const std::vector<int>& wanted, const MoveCosts& costs);

struct Evaluation {
  double choices = 0;       // costs of the choices
  double conversions = 0;
  double sent_bytes = 0;    // by the conversions
  double memory = 0;        // of the fullest row
  bool fits = true;
  double cost() const { return choices + conversions; }
};
// `chosen`: by node.
Evaluation Evaluate(const Problem& problem, const std::vector<int>& chosen);

// The choices of the problem that `problem` was made from by ties or presolve; `count`: its number of nodes.
std::vector<int> ChoicesBefore(const Problem& problem, const std::vector<int>& chosen, size_t count);

}  // namespace alpa::planner::intra_op
