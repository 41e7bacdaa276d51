#include "planner/intra_op/presolve.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace alpa::planner::intra_op {

namespace {

constexpr size_t kMostPairs = 1024;     // of choices that are joined
constexpr size_t kMostJoined = 48;      // choices that a joined node may have
constexpr size_t kMostStates = 10;      // that are wanted of a value, for its node's choices to be compared
constexpr double kSlack = 1e-12;        // relative: costs that are the same but for rounding

class Presolve {
 public:
  explicit Presolve(const Problem& problem) : out_(problem), alive_(problem.nodes.size(), true), made_(problem.nodes.size()),
        read_(problem.nodes.size()) {
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
    bool changed = true;
    while (changed) {
      changed = false;
      for (size_t i = 0; i < out_.nodes.size(); ++i) changed = (alive_[i] && DropChoices(static_cast<int>(i))) || changed;
      for (size_t s = 0; s < out_.sites.size(); ++s) changed = Join(static_cast<int>(s)) || changed;
    }
    return Compacted();
  }

 private:
  static void Insert(std::vector<int>& set, int state) {
    if (std::find(set.begin(), set.end(), state) == set.end()) set.push_back(state);
  }

  // What readers other than `node` may want of the site's value.
  std::vector<int> WantedByOthers(const Site& site, int node) const {
    std::vector<int> wanted;
    for (const Reader& reader : site.readers) {
      if (reader.node == node) continue;
      for (const Choice& choice : out_.nodes[reader.node].choices) Insert(wanted, choice.wants[reader.operand]);
    }
    return wanted;
  }

  // The most by which conversions at site `s` cost more with choice `b` of `node` than with choice `a`, whatever others choose.
  double MostMore(int s, int node, const Choice& a, const Choice& b, const std::vector<int>& others) const {
    const Site& site = out_.sites[s];
    std::vector<int> wants_a, wants_b;
    for (const Reader& reader : site.readers) {
      if (reader.node != node) continue;
      Insert(wants_a, a.wants[reader.operand]);
      Insert(wants_b, b.wants[reader.operand]);
    }
    std::vector<std::pair<int, int>> made;  // with a, with b
    if (site.node == node) {
      made.push_back({a.makes[site.result], b.makes[site.result]});
    } else {
      for (const Choice& choice : out_.nodes[site.node].choices) {
        const std::pair<int, int> both(choice.makes[site.result], choice.makes[site.result]);
        if (std::find(made.begin(), made.end(), both) == made.end()) made.push_back(both);
      }
    }
    if (wants_a == wants_b && made.size() == 1 && made[0].first == made[0].second) return 0;
    double most = -kForbidden;
    for (uint64_t mask = 0; mask < uint64_t{1} << others.size(); ++mask) {
      std::vector<int> with_a = wants_a, with_b = wants_b;
      for (size_t o = 0; o < others.size(); ++o) {
        if (mask >> o & 1) Insert(with_a, others[o]), Insert(with_b, others[o]);
      }
      for (const auto& [made_a, made_b] : made) {
        const double cost_a = ConversionCost(out_, site, made_a, with_a, site.prices);
        const double cost_b = ConversionCost(out_, site, made_b, with_b, site.prices);
        if (cost_a == kForbidden) continue;  // never chosen
        if (cost_b == kForbidden) return kForbidden;
        most = std::max(most, cost_b - cost_a);
      }
    }
    return most == -kForbidden ? 0 : site.times * most;
  }

  bool DropChoices(int node) {
    std::vector<Choice>& choices = out_.nodes[node].choices;
    if (choices.size() == 1) return false;
    std::set<int> sites = made_[node];
    sites.insert(read_[node].begin(), read_[node].end());
    std::vector<std::pair<int, std::vector<int>>> compared;
    for (int s : sites) {
      compared.push_back({s, WantedByOthers(out_.sites[s], node)});
      if (compared.back().second.size() > kMostStates) return false;
    }
    std::vector<bool> dropped(choices.size(), false);
    for (size_t a = choices.size(); a-- > 0;) {
      for (size_t b = 0; b < choices.size() && !dropped[a]; ++b) {
        if (a == b || dropped[b]) continue;
        bool lighter = true;
        for (int r = 0; r < out_.memory_rows; ++r) lighter = lighter && choices[b].memory[r] <= choices[a].memory[r];
        if (!lighter) continue;
        double more = choices[b].cost - choices[a].cost;
        const double slack = kSlack * std::max(choices[b].cost, choices[a].cost);
        for (const auto& [s, others] : compared) {
          if (more == kForbidden) break;
          more += MostMore(s, node, choices[a], choices[b], others);
        }
        dropped[a] = more <= slack;
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

  // Joins the maker of site `s` into its only reader.
  bool Join(int s) {
    Site& site = out_.sites[s];
    if (site.node < 0 || site.readers.size() != 1 || site.returned) return false;
    const int maker = site.node;
    const auto [reader, operand] = site.readers[0];
    if (maker == reader || made_[maker].size() != 1) return false;
    // In a tied problem, one operand may stand for those of several ops.
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
        both.cost += v.cost + site.times * ConversionCost(out_, site, v.makes[site.result], {u.wants[operand]}, site.prices);
        if (!(both.cost < kForbidden)) continue;
        both.wants[operand] = 0;  // read no more
        both.wants.insert(both.wants.end(), v.wants.begin(), v.wants.end());
        for (int r = 0; r < out_.memory_rows; ++r) both.memory[r] += v.memory[r];
        both.parts.insert(both.parts.end(), v.parts.begin(), v.parts.end());
        const auto [found, added] = known.try_emplace({both.wants, both.makes, both.memory}, joined.size());
        if (added) joined.push_back(std::move(both));
        else if (both.cost < joined[found->second].cost) joined[found->second] = std::move(both);
      }
    }
    if (joined.empty()) return false;  // no solution; the solver says so
    if (joined.size() > std::max(kMostJoined, std::max(first.size(), second.size()))) return false;
    const int offset = static_cast<int>(second[0].wants.size());
    out_.nodes[reader].choices = std::move(joined);
    site.node = -1;
    read_[reader].erase(s);
    alive_[maker] = false;
    for (int other : read_[maker]) {
      for (Reader& r : out_.sites[other].readers) {
        if (r.node == maker) r = {reader, offset + r.operand};
      }
      read_[reader].insert(other);
    }
    read_[maker].clear();
    made_[maker].clear();
    DropChoices(reader);
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
      if (!alive_[i]) continue;
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
  std::vector<bool> alive_;
  std::vector<std::set<int>> made_, read_;  // by node: sites
};

}  // namespace

Problem Presolved(const Problem& problem) { return Presolve(problem).Run(); }

}  // namespace alpa::planner::intra_op
