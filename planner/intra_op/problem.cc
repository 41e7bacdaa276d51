#include "planner/intra_op/problem.h"

#include <algorithm>

namespace alpa::planner::intra_op {

int Problem::StateNumber(const AxisState& state) {
  const auto found = std::find(states.begin(), states.end(), state);
  if (found != states.end()) return static_cast<int>(found - states.begin());
  states.push_back(state);
  return static_cast<int>(states.size()) - 1;
}

double ConversionCost(const Problem& problem, const Site& site, int made, const std::vector<int>& wanted,
                      const MoveCosts& costs) {
  const AxisState& from = problem.states[made];
  if (from.replicated()) return 0;
  bool whole = false, all_plain = !from.split() || from.outer == 1;
  int splits = 0;
  for (int w : wanted) {
    if (w == made) continue;
    const AxisState& to = problem.states[w];
    if (!to.split() || (from.split() && to.dim == from.dim)) {
      whole = true;
      continue;
    }
    all_plain = all_plain && to.outer == 1;
    ++splits;
  }
  if (site.returned && (from.partial() || from.outer != 1)) whole = true;
  if (!whole && splits == 0) return 0;
  if (site.rigid && from.split()) return kForbidden;
  const double through_whole = from.split() ? costs.gather : costs.reduce;
  if (whole || (!all_plain && (from.split() || splits > 1))) return through_whole;
  if (from.split()) return std::min(through_whole, splits * costs.exchange);
  return std::min(through_whole, costs.scatter + (splits - 1) * std::min(costs.exchange, costs.scatter));
}

Evaluation Evaluate(const Problem& problem, const std::vector<int>& chosen) {
  Evaluation evaluation;
  std::vector<double> memory(problem.memory_rows, 0);
  for (size_t i = 0; i < problem.nodes.size(); ++i) {
    const Choice& choice = problem.nodes[i].choices[chosen[i]];
    evaluation.choices += choice.cost;
    for (int r = 0; r < problem.memory_rows; ++r) memory[r] += choice.memory[r];
  }
  for (const Site& site : problem.sites) {
    std::vector<int> wanted;
    for (const Reader& reader : site.readers) {
      const int want = problem.nodes[reader.node].choices[chosen[reader.node]].wants[reader.operand];
      if (std::find(wanted.begin(), wanted.end(), want) == wanted.end()) wanted.push_back(want);
    }
    const int made = problem.nodes[site.node].choices[chosen[site.node]].makes[site.result];
    evaluation.conversions += site.times * ConversionCost(problem, site, made, wanted, site.costs);
    evaluation.sent_bytes += site.times * ConversionCost(problem, site, made, wanted, site.sent);
  }
  for (double bytes : memory) evaluation.memory = std::max(evaluation.memory, bytes);
  // The tolerance is needed because sums that are added in another order differ in their last bits.
  evaluation.fits = evaluation.memory <= problem.memory_limit * (1 + 1e-9);
  return evaluation;
}

std::vector<int> ChoicesBefore(const Problem& problem, const std::vector<int>& chosen, size_t count) {
  std::vector<int> before(count, 0);
  for (size_t i = 0; i < problem.nodes.size(); ++i) {
    for (const auto& [node, choice] : problem.nodes[i].choices[chosen[i]].parts) before[node] = choice;
  }
  return before;
}

}  // namespace alpa::planner::intra_op
