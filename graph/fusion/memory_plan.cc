#include "graph/fusion/memory_plan.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace alpa::fusion {
namespace {

Bytes Rounded(Bytes size) { return std::max<Bytes>(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment); }

MemoryPlan BySize(const std::vector<Block>& blocks) {
  MemoryPlan plan{std::vector<Bytes>(blocks.size(), 0), 0};
  std::vector<int> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return blocks[a].size > blocks[b].size; });
  std::vector<int> placed;  // in order of increasing offset
  for (int b : order) {
    const Bytes size = Rounded(blocks[b].size);
    Bytes at = 0, best = -1, best_gap = 0;
    for (int other : placed) {
      if (blocks[other].last < blocks[b].first || blocks[b].last < blocks[other].first) continue;
      const Bytes gap = plan.offsets[other] - at;
      if (gap >= size && (best < 0 || gap < best_gap)) best = at, best_gap = gap;
      at = std::max(at, plan.offsets[other] + Rounded(blocks[other].size));
    }
    plan.offsets[b] = best >= 0 ? best : at;
    plan.total = std::max(plan.total, plan.offsets[b] + size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), b,
                                   [&](int x, int y) { return plan.offsets[x] < plan.offsets[y]; }),
                  b);
  }
  return plan;
}

MemoryPlan ByTime(const std::vector<Block>& blocks) {
  MemoryPlan plan{std::vector<Bytes>(blocks.size(), 0), 0};
  std::vector<int> starts(blocks.size()), ends(blocks.size());
  std::iota(starts.begin(), starts.end(), 0);
  ends = starts;
  std::stable_sort(starts.begin(), starts.end(), [&](int a, int b) { return blocks[a].first < blocks[b].first; });
  std::stable_sort(ends.begin(), ends.end(), [&](int a, int b) { return blocks[a].last < blocks[b].last; });
  std::map<Bytes, Bytes> free;                      // key: offset of a gap; value: its size; adjacent gaps are merged
  std::multimap<Bytes, Bytes> by_size;              // key: size of a gap; value: its offset
  auto forget = [&](std::map<Bytes, Bytes>::iterator it) {
    auto range = by_size.equal_range(it->second);
    for (auto i = range.first; i != range.second; ++i) {
      if (i->second == it->first) {
        by_size.erase(i);
        break;
      }
    }
    return free.erase(it);
  };
  auto release = [&](Bytes offset, Bytes size) {
    auto next = free.lower_bound(offset);
    if (next != free.end() && next->first == offset + size) {
      size += next->second;
      next = forget(next);
    }
    if (next != free.begin()) {
      auto previous = std::prev(next);
      if (previous->first + previous->second == offset) {
        offset = previous->first;
        size += previous->second;
        forget(previous);
      }
    }
    free.emplace(offset, size);
    by_size.emplace(size, offset);
  };
  size_t ended = 0;
  for (int b : starts) {
    for (; ended < ends.size() && blocks[ends[ended]].last < blocks[b].first; ++ended) {
      release(plan.offsets[ends[ended]], Rounded(blocks[ends[ended]].size));
    }
    const Bytes size = Rounded(blocks[b].size);
    const auto fit = by_size.lower_bound(size);
    if (fit == by_size.end()) {
      plan.offsets[b] = plan.total;
      plan.total += size;
      continue;
    }
    const Bytes offset = fit->second, gap = fit->first;
    forget(free.find(offset));
    plan.offsets[b] = offset;
    if (gap > size) release(offset + size, gap - size);
  }
  return plan;
}

}  // namespace

MemoryPlan PlanMemory(const std::vector<Block>& blocks) {
  return blocks.size() <= kMaxBySize ? BySize(blocks) : ByTime(blocks);
}

}  // namespace alpa::fusion
