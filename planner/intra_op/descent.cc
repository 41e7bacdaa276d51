#include "planner/intra_op/descent.h"

#include <algorithm>
#include <set>

namespace alpa::planner::intra_op {

namespace {

constexpr int kMostSweeps = 20;     // maximum number of sweeps over all nodes
constexpr double kPenalty = 1e30;   // cost of a forbidden conversion; finite, so that infeasible choices are comparable

class Descent {
 public:
  Descent(const Problem& problem, std::vector<int> chosen)
      : problem_(problem), chosen_(std::move(chosen)), sites_(problem.nodes.size()), memory_(problem.memory_rows, 0) {
    for (size_t s = 0; s < problem.sites.size(); ++s) {
      std::set<int> nodes = {problem.sites[s].node};
      for (const Reader& reader : problem.sites[s].readers) nodes.insert(reader.node);
      for (int node : nodes) sites_[node].push_back(static_cast<int>(s));
    }
    for (size_t i = 0; i < problem.nodes.size(); ++i) {
      for (int r = 0; r < problem.memory_rows; ++r) memory_[r] += problem.nodes[i].choices[chosen_[i]].memory[r];
    }
  }

  std::vector<int> Run() {
    const int nodes = static_cast<int>(problem_.nodes.size());
    for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
      bool changed = false;
      for (int i = 0; i < nodes; ++i) changed = Improve(sweep % 2 == 0 ? i : nodes - 1 - i) || changed;
      if (!changed) break;
    }
    return std::move(chosen_);
  }

 private:
  double CostAround(int node) const {
    double cost = problem_.nodes[node].choices[chosen_[node]].cost;
    for (int s : sites_[node]) {
      const Site& site = problem_.sites[s];
      std::vector<int> wanted;
      for (const Reader& reader : site.readers) {
        const int want = problem_.nodes[reader.node].choices[chosen_[reader.node]].wants[reader.operand];
        if (std::find(wanted.begin(), wanted.end(), want) == wanted.end()) wanted.push_back(want);
      }
      const int made = problem_.nodes[site.node].choices[chosen_[site.node]].makes[site.result];
      const double moving = site.times * ConversionCost(problem_, site, made, wanted, site.costs);
      cost += moving == kForbidden ? kPenalty : moving;
    }
    return cost;
  }

  bool Fits(int node, int choice) const {
    for (int r = 0; r < problem_.memory_rows; ++r) {
      const double before = problem_.nodes[node].choices[chosen_[node]].memory[r];
      const double after = problem_.nodes[node].choices[choice].memory[r];
      if (after > before && memory_[r] - before + after > problem_.memory_limit) return false;
    }
    return true;
  }

  bool Improve(int node) {
    const std::vector<Choice>& choices = problem_.nodes[node].choices;
    if (choices.size() == 1) return false;
    const int before = chosen_[node];
    int best = before;
    double best_cost = CostAround(node);
    for (size_t c = 0; c < choices.size(); ++c) {
      chosen_[node] = before;
      if (static_cast<int>(c) == before || !Fits(node, static_cast<int>(c))) continue;
      chosen_[node] = static_cast<int>(c);
      const double cost = CostAround(node);
      if (cost < best_cost * (1 - 1e-12)) best = static_cast<int>(c), best_cost = cost;
    }
    chosen_[node] = best;
    for (int r = 0; r < problem_.memory_rows; ++r) memory_[r] += choices[best].memory[r] - choices[before].memory[r];
    return best != before;
  }

  const Problem& problem_;
  std::vector<int> chosen_;
  std::vector<std::vector<int>> sites_;  // one entry per node
  std::vector<double> memory_;           // one entry per row
};

}  // namespace

std::vector<int> Descend(const Problem& problem, std::vector<int> start) {
  return Descent(problem, std::move(start)).Run();
}

std::vector<int> NearestTo(const Problem& problem, const std::vector<int>& before) {
  std::vector<int> nearest;
  for (const Node& node : problem.nodes) {
    int best = 0, most = -1;
    for (size_t c = 0; c < node.choices.size(); ++c) {
      int same = 0;
      for (const auto& [old, choice] : node.choices[c].parts) same += before[old] == choice;
      if (same > most) most = same, best = static_cast<int>(c);
    }
    nearest.push_back(best);
  }
  return nearest;
}

}  // namespace alpa::planner::intra_op
