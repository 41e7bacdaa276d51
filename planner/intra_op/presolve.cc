#include "planner/intra_op/presolve.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace alpa::planner::intra_op {

namespace {

constexpr size_t kMostPairs = 1024;  // maximum number of pairs of choices that a merge may combine
constexpr size_t kMostJoined = 48;   // maximum number of choices of a merged node, unless one of the two nodes has more
constexpr size_t kMostStates = 10;   // maximum number of wanted states at a site; each state doubles the table's size
constexpr double kSlack = 1e-12;     // relative difference up to which two costs count as equal

class Presolve {
 public:
  explicit Presolve(const Problem& problem)
      : out_(problem), live_(problem.nodes.size(), true), made_(problem.nodes.size()), read_(problem.nodes.size()) {
    for (size_t i = 0; i < out_.nodes.size(); ++i) {
      for (size_t c = 0; c < out_.nodes[i].choices.size(); ++c) {
        out_.nodes[i].choices[c].parts = {{static_cast<int>(i), static_cast<int>(c)}};
      }
    }
    for (size_t s = 0; s < out_.sites.size(); ++s) {
      made_[out_.sites[s].node].insert(static_cast<int>(s));
      for (const Reader& reader : out_.sites[s].readers) read_[reader.node].insert(static_cast<int>(s));
    }
  }

  Problem Run() {
    for (size_t i = 0; i < out_.nodes.size(); ++i) Touch(static_cast<int>(i));
    while (!due_.empty()) {
      while (!due_.empty()) {
        const int node = *due_.begin();
        due_.erase(due_.begin());
        if (live_[node] && DropChoices(node)) TouchNeighbours(node);
      }
      for (size_t s = 0; s < out_.sites.size(); ++s) Join(static_cast<int>(s));
    }
    return Compacted();
  }

 private:
  // The ConversionCost at a site for each pair of a state that is made (its position in `made`) and a set of states
  // that are wanted (bit i: `wanted[i]`).
  struct Table {
    std::vector<int> made, wanted;
    std::vector<double> cost;  // empty if there are more than kMostStates states
    double at(size_t made_at, uint64_t mask) const { return cost[(made_at << wanted.size()) + mask]; }
  };

  static size_t Position(const std::vector<int>& set, int state) {
    return std::find(set.begin(), set.end(), state) - set.begin();
  }
  static void Insert(std::vector<int>& set, int state) {
    if (Position(set, state) == set.size()) set.push_back(state);
  }

  void Touch(int node) {
    if (out_.nodes[node].choices.size() > 1) due_.insert(node);
  }

  void TouchNeighbours(int node) {
    for (const std::set<int>* sites : {&made_[node], &read_[node]}) {
      for (int s : *sites) {
        if (out_.sites[s].node != node) Touch(out_.sites[s].node);
        for (const Reader& reader : out_.sites[s].readers) {
          if (reader.node != node) Touch(reader.node);
        }
      }
    }
  }

  // Presolve only removes states, so a table stays valid.
  const Table& TableOf(int s) {
    const auto [found, added] = tables_.try_emplace(s);
    Table& table = found->second;
    if (!added) return table;
    const Site& site = out_.sites[s];
    for (const Choice& choice : out_.nodes[site.node].choices) Insert(table.made, choice.makes[site.result]);
    for (const Reader& reader : site.readers) {
      for (const Choice& choice : out_.nodes[reader.node].choices) Insert(table.wanted, choice.wants[reader.operand]);
    }
    if (table.wanted.size() > kMostStates) return table;
    for (int made : table.made) {
      for (uint64_t mask = 0; mask < uint64_t{1} << table.wanted.size(); ++mask) {
        std::vector<int> wanted;
        for (size_t w = 0; w < table.wanted.size(); ++w) {
          if (mask >> w & 1) wanted.push_back(table.wanted[w]);
        }
        table.cost.push_back(ConversionCost(out_, site, made, wanted, site.costs));
      }
    }
    return table;
  }

  // The choices of one node at one site. Two choices have the same effect if they make and want the same states there.
  struct View {
    std::vector<size_t> effect;                    // one entry per choice: the number of its effect
    std::vector<std::vector<double>> extra_cost;   // `[a][b]`: the maximum of cost(b) - cost(a) for effects a and b
  };

  View ViewOf(int s, int node) {
    const Site& site = out_.sites[s];
    const Table& table = TableOf(s);
    View view;
    struct Effect {
      uint64_t wants = 0;
      size_t makes = 0;
      bool operator==(const Effect&) const = default;
    };
    std::vector<Effect> effects;
    const bool maker = site.node == node;
    for (const Choice& choice : out_.nodes[node].choices) {
      Effect effect;
      if (maker) effect.makes = Position(table.made, choice.makes[site.result]);
      for (const Reader& reader : site.readers) {
        if (reader.node == node) effect.wants |= uint64_t{1} << Position(table.wanted, choice.wants[reader.operand]);
      }
      const auto known = std::find(effects.begin(), effects.end(), effect);
      view.effect.push_back(known - effects.begin());
      if (known == effects.end()) effects.push_back(effect);
    }
    // The states that the other nodes may want and make.
    uint64_t others = 0;
    for (const Reader& reader : site.readers) {
      if (reader.node == node) continue;
      for (const Choice& choice : out_.nodes[reader.node].choices) {
        others |= uint64_t{1} << Position(table.wanted, choice.wants[reader.operand]);
      }
    }
    std::vector<size_t> made;
    if (!maker) {
      for (const Choice& choice : out_.nodes[site.node].choices) {
        const size_t at = Position(table.made, choice.makes[site.result]);
        if (std::find(made.begin(), made.end(), at) == made.end()) made.push_back(at);
      }
    }
    view.extra_cost.assign(effects.size(), std::vector<double>(effects.size(), 0));
    for (size_t a = 0; a < effects.size(); ++a) {
      for (size_t b = 0; b < effects.size(); ++b) {
        if (a == b) continue;
        double most = -kForbidden;
        const auto compare = [&](size_t made_a, size_t made_b, uint64_t mask) {
          const double cost_a = table.at(made_a, mask | effects[a].wants);
          const double cost_b = table.at(made_b, mask | effects[b].wants);
          if (cost_a == kForbidden) return;  // no solution has effect `a` in this case
          most = std::max(most, cost_b == kForbidden ? kForbidden : cost_b - cost_a);
        };
        for (uint64_t mask = others;; mask = (mask - 1) & others) {
          if (maker) compare(effects[a].makes, effects[b].makes, mask);
          for (size_t m : made) compare(m, m, mask);
          if (mask == 0) break;
        }
        view.extra_cost[a][b] = most == -kForbidden ? 0 : site.times * most;
      }
    }
    return view;
  }

  // Drops each choice of `node` that another choice can replace at no extra cost. Returns whether it dropped any.
  bool DropChoices(int node) {
    std::vector<Choice>& choices = out_.nodes[node].choices;
    if (choices.size() == 1) return false;
    std::set<int> sites = made_[node];
    sites.insert(read_[node].begin(), read_[node].end());
    std::vector<View> views;
    for (int s : sites) {
      if (TableOf(s).cost.empty()) return false;
      views.push_back(ViewOf(s, node));
    }
    std::vector<bool> dropped(choices.size(), false);
    for (size_t a = choices.size(); a-- > 0;) {
      for (size_t b = 0; b < choices.size() && !dropped[a]; ++b) {
        if (a == b || dropped[b]) continue;
        bool lighter = true;
        for (int r = 0; r < out_.memory_rows; ++r) lighter = lighter && choices[b].memory[r] <= choices[a].memory[r];
        if (!lighter) continue;
        double more = choices[b].cost - choices[a].cost;
        for (const View& view : views) {
          if (more == kForbidden) break;
          more += view.extra_cost[view.effect[a]][view.effect[b]];
        }
        dropped[a] = more <= kSlack * std::max(choices[b].cost, choices[a].cost);
      }
    }
    size_t kept = 0;
    for (size_t c = 0; c < choices.size(); ++c) {
      if (dropped[c]) continue;
      if (kept != c) choices[kept] = std::move(choices[c]);
      ++kept;
    }
    const bool any = kept < choices.size();
    choices.resize(kept);
    return any;
  }

  // Merges the producer of site `s` into the only reader of the site. Returns whether it merged them.
  bool Join(int s) {
    Site& site = out_.sites[s];
    if (site.node < 0 || site.readers.size() != 1 || site.returned) return false;
    const int maker = site.node;
    const auto [reader, operand] = site.readers[0];
    if (maker == reader || made_[maker].size() != 1) return false;
    // In a tied problem, one operand may stand for operands of several ops. Such an operand is not merged.
    int as_operand = 0;
    for (int other : read_[reader]) {
      const std::vector<Reader>& readers = out_.sites[other].readers;
      as_operand += static_cast<int>(std::count(readers.begin(), readers.end(), site.readers[0]));
    }
    if (as_operand != 1) return false;
    const std::vector<Choice>& first = out_.nodes[maker].choices;
    const std::vector<Choice>& second = out_.nodes[reader].choices;
    if (first.size() * second.size() > kMostPairs) return false;
    using Key = std::tuple<std::vector<int>, std::vector<int>, std::vector<double>>;
    std::map<Key, size_t> known;
    std::vector<Choice> joined;
    for (const Choice& u : second) {
      for (const Choice& v : first) {
        Choice both = u;
        both.cost +=
            v.cost + site.times * ConversionCost(out_, site, v.makes[site.result], {u.wants[operand]}, site.costs);
        if (!(both.cost < kForbidden)) continue;
        both.wants[operand] = 0;  // the merged node no longer reads this operand
        both.wants.insert(both.wants.end(), v.wants.begin(), v.wants.end());
        for (int r = 0; r < out_.memory_rows; ++r) both.memory[r] += v.memory[r];
        both.parts.insert(both.parts.end(), v.parts.begin(), v.parts.end());
        const auto [found, added] = known.try_emplace({both.wants, both.makes, both.memory}, joined.size());
        if (added) joined.push_back(std::move(both));
        else if (both.cost < joined[found->second].cost) joined[found->second] = std::move(both);
      }
    }
    if (joined.empty()) return false;  // there is no solution; the solver reports this
    if (joined.size() > std::max(kMostJoined, std::max(first.size(), second.size()))) return false;
    const int offset = static_cast<int>(second[0].wants.size());
    out_.nodes[reader].choices = std::move(joined);
    site.node = -1;
    read_[reader].erase(s);
    live_[maker] = false;
    for (int other : read_[maker]) {
      for (Reader& r : out_.sites[other].readers) {
        if (r.node == maker) r = {reader, offset + r.operand};
      }
      read_[reader].insert(other);
    }
    read_[maker].clear();
    made_[maker].clear();
    Touch(reader);
    TouchNeighbours(reader);
    return true;
  }

  Problem Compacted() {
    Problem compact;
    compact.n = out_.n;
    compact.states = out_.states;
    compact.memory_rows = out_.memory_rows;
    compact.memory_limit = out_.memory_limit;
    std::vector<int> number(out_.nodes.size(), -1);
    for (size_t i = 0; i < out_.nodes.size(); ++i) {
      if (!live_[i]) continue;
      number[i] = static_cast<int>(compact.nodes.size());
      compact.nodes.push_back(std::move(out_.nodes[i]));
    }
    for (Site& site : out_.sites) {
      if (site.node < 0) continue;
      site.node = number[site.node];
      for (Reader& reader : site.readers) reader.node = number[reader.node];
      compact.sites.push_back(std::move(site));
    }
    return compact;
  }

  Problem out_;
  std::vector<bool> live_;                  // one entry per node: whether it is not merged into another node
  std::vector<std::set<int>> made_, read_;  // one entry per node: the sites that it makes, and those that it reads
  std::map<int, Table> tables_;             // key: site
  std::set<int> due_;                       // nodes to examine again, because a site that they make or read has changed
};

}  // namespace

Problem Presolved(const Problem& problem) { return Presolve(problem).Run(); }

}  // namespace alpa::planner::intra_op
