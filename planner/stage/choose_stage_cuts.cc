#include "planner/stage/choose_stage_cuts.h"

#include <algorithm>
#include <limits>

namespace alpa::planner {
namespace {

// The weight of live bytes relative to imbalance. Two choices are equally bad: cuts with on average twice as many live
// bytes as the place with the fewest, and a slowest stage that takes 10 % longer than the ideal time.
constexpr double kImbalancePerThickness = 0.1;
// The limits that ChooseStageCuts tries for the time of the slowest stage, as multiples of the ideal time.
constexpr double kSlack[] = {1.0, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.5, 3, 4, 8, 1e30};

}  // namespace

std::vector<int64_t> ChooseStageCuts(const std::vector<ForwardOp>& forward, const std::vector<double>& shares) {
  const size_t stages = shares.size();
  if (stages < 2) return {};
  // Possible cuts: local minima of the live bytes, or all ops if there are too few minima. `work`: the total work
  // before the cut.
  struct Place { int64_t index; double work, bytes; };
  std::vector<Place> places;
  double work = 0, thinnest = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < forward.size(); ++i) {
    if (i > 0) thinnest = std::min(thinnest, forward[i].bytes_before);
  }
  for (bool local_minima : {true, false}) {
    places.clear();
    work = 0;
    for (size_t i = 0; i < forward.size(); ++i) {
      const double bytes = forward[i].bytes_before;
      const bool low = i > 0 && bytes <= forward[i - 1].bytes_before &&
                       (i + 1 == forward.size() || bytes <= forward[i + 1].bytes_before);
      if (i > 0 && (low || !local_minima)) places.push_back({forward[i].index, work, bytes});
      work += forward[i].work;
    }
    if (places.size() + 1 >= 2 * stages) break;
  }
  if (places.size() + 1 <= stages) {
    std::vector<int64_t> all;
    for (const Place& place : places) all.push_back(place.index);
    return all;
  }
  double total_share = 0;
  for (double share : shares) total_share += share;
  const double ideal = std::max(work, 1.0) / total_share;
  thinnest = std::max(thinnest, 1.0);
  const double infinity = std::numeric_limits<double>::infinity();
  const size_t n = places.size();
  std::vector<int64_t> best;
  double best_cost = infinity;
  for (double slack : kSlack) {
    // `cost[s][p]`: stages 0 to `s` end at cuts, and stage `s` ends at place `p`. The entry is the smallest possible
    // sum of live bytes over these cuts.
    std::vector<std::vector<double>> cost(stages - 1, std::vector<double>(n, infinity));
    std::vector<std::vector<size_t>> from(stages - 1, std::vector<size_t>(n, 0));
    const auto fits = [&](double amount, size_t stage) { return amount <= slack * ideal * shares[stage] * (1 + 1e-9); };
    for (size_t p = 0; p < n; ++p) {
      if (fits(places[p].work, 0)) cost[0][p] = places[p].bytes;
    }
    for (size_t s = 1; s + 1 < stages; ++s) {
      for (size_t p = s; p < n; ++p) {
        for (size_t q = p; q-- > 0;) {
          if (!fits(places[p].work - places[q].work, s)) break;
          if (cost[s - 1][q] + places[p].bytes < cost[s][p]) {
            cost[s][p] = cost[s - 1][q] + places[p].bytes, from[s][p] = q;
          }
        }
      }
    }
    size_t end = n;
    for (size_t p = 0; p < n; ++p) {
      if (!fits(work - places[p].work, stages - 1)) continue;
      if (end == n || cost[stages - 2][p] < cost[stages - 2][end]) end = p;
    }
    if (end == n || cost[stages - 2][end] == infinity) continue;
    const double thickness = cost[stages - 2][end] / thinnest / static_cast<double>(stages - 1) - 1;
    const double balanced_cost = slack + kImbalancePerThickness * thickness;
    if (balanced_cost >= best_cost) continue;
    best_cost = balanced_cost;
    best.assign(stages - 1, 0);
    for (size_t s = stages - 1; s-- > 0;) {
      best[s] = places[end].index;
      end = from[s][end];
    }
  }
  return best;
}

}  // namespace alpa::planner
