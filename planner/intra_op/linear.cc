#include "planner/intra_op/linear.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace alpa::planner::intra_op {

namespace {

// A linear expression: variables with coefficients, and a constant.
class Sum {
 public:
  void Add(int variable, double coefficient) { terms_[variable] += coefficient; }
  void AddConstant(double constant) { constant_ += constant; }
  void Add(const Sum& other, double factor) {
    for (const auto& [variable, coefficient] : other.terms_) terms_[variable] += factor * coefficient;
    constant_ += factor * other.constant_;
  }
  // Adds the row "this <= 0", unless it holds for all values of the variables in [0, 1].
  void AtMostZero(IntegerProgram& program) const {
    IntegerProgram::Row row;
    row.upper = -constant_;
    double most = 0;
    for (const auto& [variable, coefficient] : terms_) {
      if (coefficient == 0) continue;
      row.terms.push_back({variable, coefficient});
      most += std::max(0.0, coefficient);
    }
    if (most > row.upper) program.rows.push_back(std::move(row));
  }

 private:
  std::map<int, double> terms_;
  double constant_ = 0;
};

}  // namespace

LinearForm::LinearForm(const Problem& problem) : problem_(problem) {
  AddNodes();
  AddMemory();
  for (const Site& site : problem.sites) AddSite(site, of_site_.emplace_back());
  double largest = 0;
  for (const IntegerProgram::Variable& variable : program_.variables) {
    largest = std::max(largest, std::abs(variable.cost));
  }
  if (largest > 0) unit_ = largest;
  for (IntegerProgram::Variable& variable : program_.variables) variable.cost /= unit_;
}

void LinearForm::AddNodes() {
  for (const Node& node : problem_.nodes) {
    if (node.choices.size() == 1) {
      first_variable_.push_back(-1);
      constant_ += node.choices[0].cost;
      continue;
    }
    first_variable_.push_back(static_cast<int>(program_.variables.size()));
    // The node costs at least as much as its cheapest choice. This minimum is a constant.
    double least = node.choices[0].cost;
    for (const Choice& choice : node.choices) least = std::min(least, choice.cost);
    constant_ += least;
    IntegerProgram::Row one;
    one.lower = one.upper = 1;
    for (const Choice& choice : node.choices) {
      one.terms.push_back({static_cast<int>(program_.variables.size()), 1});
      program_.variables.push_back({choice.cost - least});
    }
    program_.rows.push_back(std::move(one));
  }
}

void LinearForm::AddMemory() {
  if (!std::isfinite(problem_.memory_limit)) return;
  const double unit = std::max(1.0, problem_.memory_limit);
  for (int r = 0; r < problem_.memory_rows; ++r) {
    IntegerProgram::Row row;
    row.upper = problem_.memory_limit / unit;
    for (size_t i = 0; i < problem_.nodes.size(); ++i) {
      const Node& node = problem_.nodes[i];
      for (size_t c = 0; c < node.choices.size(); ++c) {
        const double bytes = node.choices[c].memory[r] / unit;
        if (first_variable_[i] < 0) row.upper -= bytes;
        else if (bytes != 0) row.terms.push_back({first_variable_[i] + static_cast<int>(c), bytes});
      }
    }
    program_.rows.push_back(std::move(row));
  }
}

void LinearForm::AddSite(const Site& site, SiteVariables& variables) {
  const auto sum_where = [&](int node, auto&& holds) {
    Sum sum;
    const Node& of = problem_.nodes[node];
    for (size_t c = 0; c < of.choices.size(); ++c) {
      if (!holds(of.choices[c])) continue;
      if (first_variable_[node] < 0) sum.AddConstant(1);
      else sum.Add(first_variable_[node] + static_cast<int>(c), 1);
    }
    return sum;
  };
  const auto made = [&](int m) {
    return sum_where(site.node, [&](const Choice& c) { return c.makes[site.result] == m; });
  };
  const auto wants = [&](const Reader& r, int s) {
    return sum_where(r.node, [&](const Choice& c) { return c.wants[r.operand] == s; });
  };
  std::set<int> makes, wanted;
  for (const Choice& choice : problem_.nodes[site.node].choices) makes.insert(choice.makes[site.result]);
  std::vector<std::set<int>> by_reader;
  for (const Reader& reader : site.readers) {
    std::set<int>& mine = by_reader.emplace_back();
    for (const Choice& choice : problem_.nodes[reader.node].choices) mine.insert(choice.wants[reader.operand]);
    wanted.insert(mine.begin(), mine.end());
  }
  if (makes == std::set<int>{0}) return;

  const auto new_variable = [&](double cost, bool allowed) {
    program_.variables.push_back({site.times * cost, 0, allowed ? 1.0 : 0.0, false});
    return static_cast<int>(program_.variables.size()) - 1;
  };
  std::map<int, int> whole;
  std::map<std::pair<int, int>, int> direct;
  for (int m : makes) {
    const AxisState& from = problem_.states[m];
    if (from.replicated()) continue;
    const bool allowed = !(site.rigid && from.split());
    whole[m] = new_variable(from.split() ? site.costs.gather : site.costs.reduce, allowed);
    variables.whole.push_back({m, whole[m]});
    const double further = from.split() ? site.costs.exchange : std::min(site.costs.exchange, site.costs.scatter);
    int any = -1;
    for (int s : wanted) {
      const AxisState& to = problem_.states[s];
      if (s == m || !to.split()) continue;
      if (from.split() && (from.outer != 1 || to.outer != 1 || from.dim == to.dim)) continue;
      direct[{m, s}] = new_variable(further, allowed);
      variables.direct.push_back({m, s, direct[{m, s}]});
      if (from.partial() && any < 0) {
        any = new_variable(site.costs.scatter - further, true);
        variables.any.push_back({m, any});
      }
    }
    for (const auto& [key, h] : direct) {
      if (key.first != m) continue;
      Sum bounded;  // the row g + h <= made (see linear.h)
      bounded.Add(whole[m], 1);
      bounded.Add(h, 1);
      bounded.Add(made(m), -1);
      bounded.AtMostZero(program_);
      if (any < 0) continue;
      Sum counted;  // the row h <= a
      counted.Add(h, 1);
      counted.Add(any, -1);
      counted.AtMostZero(program_);
      // A split that is not in plain tiles is converted directly only if no other split is converted directly.
      // Otherwise it is a slice of the full value.
      if (problem_.states[key.second].outer == 1) continue;
      for (const auto& [other, h2] : direct) {
        if (other.first != m || other.second == key.second) continue;
        if (problem_.states[other.second].outer != 1 && other.second < key.second) continue;  // the pair has its row
        Sum alone;
        alone.Add(h, 1);
        alone.Add(h2, 1);
        alone.AddConstant(-1);
        alone.AtMostZero(program_);
      }
    }
    Sum bounded;
    bounded.Add(whole[m], 1);
    bounded.Add(made(m), -1);
    bounded.AtMostZero(program_);
    if (site.returned && (from.partial() || from.outer != 1)) {
      Sum returned;  // made <= g, because an aux output needs the full value
      returned.Add(made(m), 1);
      returned.Add(whole[m], -1);
      returned.AtMostZero(program_);
    }
  }
  for (size_t r = 0; r < site.readers.size(); ++r) {
    for (int s : by_reader[r]) {
      Sum had = wants(site.readers[r], s);
      for (int m : makes) {
        if (m == s || m == 0) {
          had.Add(made(m), -1);
          continue;
        }
        had.Add(whole[m], -1);
        if (const auto h = direct.find({m, s}); h != direct.end()) had.Add(h->second, -1);
      }
      had.AtMostZero(program_);
    }
    for (int m : makes) {
      if (m == 0) continue;
      Sum used = made(m);
      used.Add(wants(site.readers[r], m), -1);
      used.Add(whole[m], -1);
      for (int s : by_reader[r]) {
        if (const auto h = direct.find({m, s}); h != direct.end()) used.Add(h->second, -1);
      }
      used.AtMostZero(program_);
    }
  }
}

std::vector<int> LinearForm::ChosenBy(const std::vector<double>& values) const {
  std::vector<int> chosen(problem_.nodes.size(), 0);
  for (size_t i = 0; i < problem_.nodes.size(); ++i) {
    if (first_variable_[i] < 0) continue;
    for (size_t c = 0; c < problem_.nodes[i].choices.size(); ++c) {
      if (values[first_variable_[i] + c] > 0.5) chosen[i] = static_cast<int>(c);
    }
  }
  return chosen;
}

std::vector<double> LinearForm::ValuesOf(const std::vector<int>& chosen) const {
  std::vector<double> values(program_.variables.size(), 0);
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (first_variable_[i] >= 0) values[first_variable_[i] + chosen[i]] = 1;
  }
  for (size_t s = 0; s < problem_.sites.size(); ++s) {
    const Site& site = problem_.sites[s];
    const int made = problem_.nodes[site.node].choices[chosen[site.node]].makes[site.result];
    std::vector<int> wanted;
    for (const Reader& reader : site.readers) {
      const int want = problem_.nodes[reader.node].choices[chosen[reader.node]].wants[reader.operand];
      if (want != made && std::find(wanted.begin(), wanted.end(), want) == wanted.end()) wanted.push_back(want);
    }
    const double cost = ConversionCost(problem_, site, made, wanted, site.costs);
    // All readers use the full value, unless direct conversions can serve them all at no higher cost.
    std::vector<int> used;
    double directly = 0;
    bool possible = !(site.returned && (problem_.states[made].partial() || problem_.states[made].outer != 1));
    bool plain = true;
    for (int want : wanted) {
      const auto found = std::find_if(of_site_[s].direct.begin(), of_site_[s].direct.end(),
                                      [&](const Direct& d) { return d.made == made && d.wanted == want; });
      possible = possible && found != of_site_[s].direct.end();
      plain = plain && problem_.states[want].outer == 1;
      if (possible) used.push_back(found->variable), directly += program_.variables[found->variable].cost;
    }
    if (problem_.states[made].partial() && wanted.size() > 1 && !plain) possible = false;
    for (const auto& [m, any] : of_site_[s].any) {
      if (m == made && !used.empty()) used.push_back(any), directly += program_.variables[any].cost;
    }
    if (possible && directly * unit_ <= site.times * cost * (1 + 1e-9)) {
      for (int variable : used) values[variable] = 1;
      continue;
    }
    for (const auto& [m, g] : of_site_[s].whole) {
      if (m == made) values[g] = 1;
    }
  }
  return values;
}

}  // namespace alpa::planner::intra_op
