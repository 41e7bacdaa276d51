#include "planner/intra_op/ties.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace alpa::planner::intra_op {

namespace {

// Gives distinct keys consecutive numbers, in order of their first appearance.
template <typename Key>
class Classes {
 public:
  int Of(const Key& key) { return numbers_.try_emplace(key, static_cast<int>(numbers_.size())).first->second; }
  size_t size() const { return numbers_.size(); }

 private:
  std::map<Key, int> numbers_;
};

std::vector<int> Colours(const Problem& problem, int radius) {
  using Alike = std::vector<std::tuple<double, std::vector<int>, std::vector<int>>>;
  Classes<Alike> alike;
  std::vector<int> colours;
  for (const Node& node : problem.nodes) {
    Alike key;
    for (const Choice& choice : node.choices) key.emplace_back(choice.cost, choice.wants, choice.makes);
    colours.push_back(alike.Of(key));
  }
  // The surroundings of each node. A result contributes its site and the readers of the site. An operand contributes
  // its site and the producer of the site.
  using Seen = std::vector<std::vector<double>>;
  size_t before = alike.size();
  for (int round = 0; round < radius; ++round) {
    std::vector<Seen> seen(problem.nodes.size());
    for (const Site& site : problem.sites) {
      std::vector<double> readers = {0,
                                     static_cast<double>(site.result),
                                     static_cast<double>(site.returned),
                                     static_cast<double>(site.rigid),
                                     site.times,
                                     site.costs.gather,
                                     site.costs.reduce};
      std::vector<std::pair<double, double>> sorted;
      for (const Reader& reader : site.readers) {
        sorted.push_back({static_cast<double>(colours[reader.node]), static_cast<double>(reader.operand)});
      }
      std::sort(sorted.begin(), sorted.end());
      for (const auto& [colour, operand] : sorted) readers.insert(readers.end(), {colour, operand});
      seen[site.node].push_back(std::move(readers));
      for (const Reader& reader : site.readers) {
        seen[reader.node].push_back({1, static_cast<double>(reader.operand), static_cast<double>(colours[site.node]),
                                     static_cast<double>(site.result), site.times, site.costs.gather});
      }
    }
    Classes<std::pair<int, Seen>> next;
    for (size_t i = 0; i < colours.size(); ++i) {
      std::sort(seen[i].begin(), seen[i].end());
      colours[i] = next.Of({colours[i], std::move(seen[i])});
    }
    if (next.size() == before) break;
    before = next.size();
  }
  return colours;
}

}  // namespace

Problem Tied(const Problem& problem, int radius) {
  const std::vector<int> colours = Colours(problem, radius);
  Problem tied;
  tied.n = problem.n;
  tied.states = problem.states;
  tied.memory_rows = problem.memory_rows;
  tied.memory_limit = problem.memory_limit;
  std::map<int, int> node_of;
  std::vector<int> mapped;
  for (size_t i = 0; i < problem.nodes.size(); ++i) {
    const auto [found, added] = node_of.try_emplace(colours[i], static_cast<int>(tied.nodes.size()));
    if (added) {
      Node& node = tied.nodes.emplace_back(problem.nodes[i]);
      for (Choice& choice : node.choices) {
        choice.cost = 0, choice.memory.assign(problem.memory_rows, 0), choice.parts.clear();
      }
    }
    mapped.push_back(found->second);
    Node& node = tied.nodes[found->second];
    for (size_t c = 0; c < node.choices.size(); ++c) {
      const Choice& member = problem.nodes[i].choices[c];
      node.choices[c].cost += member.cost;
      for (int r = 0; r < problem.memory_rows; ++r) node.choices[c].memory[r] += member.memory[r];
      node.choices[c].parts.push_back({static_cast<int>(i), static_cast<int>(c)});
    }
  }
  using Key = std::tuple<int, int, std::vector<Reader>, bool, bool, MoveCosts, MoveCosts>;
  std::map<Key, size_t> site_of;
  for (const Site& site : problem.sites) {
    Site mine = site;
    mine.node = mapped[site.node];
    for (Reader& reader : mine.readers) reader.node = mapped[reader.node];
    std::sort(mine.readers.begin(), mine.readers.end());
    mine.readers.erase(std::unique(mine.readers.begin(), mine.readers.end()), mine.readers.end());
    const Key key{mine.node, mine.result, mine.readers, mine.returned, mine.rigid, mine.costs, mine.sent};
    const auto [found, added] = site_of.try_emplace(key, tied.sites.size());
    if (added) tied.sites.push_back(std::move(mine));
    else tied.sites[found->second].times += site.times;
  }
  return tied;
}

}  // namespace alpa::planner::intra_op
