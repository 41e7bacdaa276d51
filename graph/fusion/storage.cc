#include "graph/fusion/storage.h"

#include <algorithm>

namespace alpa::fusion {
namespace {

// A buffer or a part of the arena. It holds one value at a time.
struct Storage {
  Place place;          // Finish sets the offset of a place in the arena
  Bytes size = 0;
  int first = 0;        // the first unit that writes to this storage
  int busy_until = -1;  // the last unit that needs the current value
  bool writable = false;
};

class Planner {
 public:
  explicit Planner(const StorageProblem& problem) : p_(problem), end_(static_cast<int>(problem.units.size())) {}

  StoragePlan Run() {
    Prepare();
    for (int u = 0; u < end_; ++u) {
      const StorageUnit& unit = p_.units[u];
      claimed_.clear();
      for (size_t w = 0; w < unit.writes.size(); ++w) Write(u, w);
      if (unit.scratch > 0) scratch_of_[u] = NewArena(unit.scratch, u, u);
    }
    Copies();
    return Finish();
  }

 private:
  void Prepare() {
    const size_t n = p_.sizes.size();
    last_use_.assign(n, -1);
    storage_of_.assign(n, -1);
    results_of_.resize(n);
    scratch_of_.assign(p_.units.size(), -1);
    for (int u = 0; u < end_; ++u) {
      for (int v : p_.units[u].reads) last_use_[v] = u;
    }
    for (size_t j = 0; j < p_.results.size(); ++j) {
      results_of_[p_.results[j]].push_back(static_cast<int>(j));
      last_use_[p_.results[j]] = end_;
    }
    for (size_t i = 0; i < p_.parameters.size(); ++i) {
      const int v = p_.parameters[i];
      storage_of_[v] = static_cast<int>(storages_.size());
      storages_.push_back({{Place::Kind::kParameter, static_cast<int>(i), 0}, p_.sizes[v], 0, last_use_[v], false});
    }
    for (int32_t i : p_.alias) {
      if (i >= 0) storages_[i].writable = true;
    }
    for (size_t v = 0; v < n; ++v) {
      if (!p_.constant[v]) continue;
      storage_of_[v] = static_cast<int>(storages_.size());
      storages_.push_back({{Place::Kind::kConstant, static_cast<int>(v), 0}, p_.sizes[v], 0, end_, false});
    }
  }

  int AliasOf(int result) const {
    return result < static_cast<int>(p_.alias.size()) ? p_.alias[result] : -1;
  }

  int NewArena(Bytes size, int first, int last) {
    storages_.push_back({{Place::Kind::kArena, -1, 0}, size, first, last, true});
    return static_cast<int>(storages_.size()) - 1;
  }

  bool Claimed(int storage) const { return std::find(claimed_.begin(), claimed_.end(), storage) != claimed_.end(); }

  // Returns whether write `w` of unit `u` may use `storage`. If `updates_only` is true, only kUpdate allows sharing.
  bool CanTake(int u, size_t w, int storage, bool updates_only) const {
    const Storage& s = storages_[storage];
    const int v = p_.units[u].writes[w];
    if (!s.writable || s.size != p_.sizes[v] || Claimed(storage) || s.busy_until > u) return false;
    if (s.busy_until < u) return true;
    if (w >= p_.units[u].shares.size()) return false;
    for (const ShareOption& option : p_.units[u].shares[w]) {
      if (storage_of_[option.read] == storage && (!updates_only || option.kind == Sharing::kUpdate)) return true;
    }
    return false;
  }

  void Write(int u, size_t w) {
    const int v = p_.units[u].writes[w];
    int chosen = -1;
    for (int j : results_of_[v]) {
      const int parameter = AliasOf(j);
      if (parameter >= 0 && CanTake(u, w, parameter, false)) {
        chosen = parameter;
        break;
      }
    }
    for (size_t i = 0; chosen < 0 && i < results_of_[v].size(); ++i) {
      const int j = results_of_[v][i];
      if (AliasOf(j) >= 0) continue;
      chosen = static_cast<int>(storages_.size());
      storages_.push_back({{Place::Kind::kResult, j, 0}, p_.sizes[v], u, end_, false});
    }
    if (chosen < 0 && w < p_.units[u].shares.size()) {
      for (const ShareOption& option : p_.units[u].shares[w]) {
        const int s = storage_of_[option.read];
        if (s < 0) continue;
        // A parameter's buffer stays reserved for its aliased result, unless sharing saves a copy of the full array.
        const bool updates_only = storages_[s].place.kind == Place::Kind::kParameter;
        if (storages_[s].busy_until == u && CanTake(u, w, s, updates_only)) {
          chosen = s;
          break;
        }
      }
    }
    if (chosen < 0) chosen = NewArena(p_.sizes[v], u, u);
    storage_of_[v] = chosen;
    storages_[chosen].busy_until = std::max(u, last_use_[v]);
    claimed_.push_back(chosen);
  }

  // Adds a copy for each result that is not in its final buffer. If one copy reads a parameter's buffer and another
  // copy overwrites it, the old value of the buffer is first copied to the arena.
  void Copies() {
    struct Pending {
      int storage, result;
    };
    std::vector<Pending> pending;
    std::vector<bool> overwritten(p_.parameters.size(), false);
    for (size_t j = 0; j < p_.results.size(); ++j) {
      const int s = storage_of_[p_.results[j]];
      const Place& at = storages_[s].place;
      const int alias = AliasOf(static_cast<int>(j));
      if (alias >= 0 && at.kind == Place::Kind::kParameter && at.index == alias) continue;
      if (at.kind == Place::Kind::kResult && at.index == static_cast<int>(j)) continue;
      if (alias >= 0) overwritten[alias] = true;
      pending.push_back({s, static_cast<int>(j)});
    }
    std::vector<std::pair<int, int>> staged;  // pairs of source storage and target storage
    for (Pending& copy : pending) {
      const Place at = storages_[copy.storage].place;
      if (at.kind != Place::Kind::kParameter || !overwritten[at.index]) continue;
      const int stage = NewArena(storages_[copy.storage].size, end_, end_);
      staged.emplace_back(copy.storage, stage);
      copy.storage = stage;
    }
    for (const auto& [from, to] : staged) copies_.push_back({from, to, {}});
    for (const Pending& copy : pending) {
      const int alias = AliasOf(copy.result);
      const Place to =
          alias >= 0 ? Place{Place::Kind::kParameter, alias, 0} : Place{Place::Kind::kResult, copy.result, 0};
      copies_.push_back({copy.storage, -1, to});
    }
  }

  StoragePlan Finish() {
    std::vector<Block> blocks;
    std::vector<int> block_of(storages_.size(), -1);
    for (size_t s = 0; s < storages_.size(); ++s) {
      if (storages_[s].place.kind != Place::Kind::kArena) continue;
      block_of[s] = static_cast<int>(blocks.size());
      blocks.push_back({storages_[s].size, storages_[s].first, storages_[s].busy_until});
    }
    const MemoryPlan memory = PlanMemory(blocks);
    for (size_t s = 0; s < storages_.size(); ++s) {
      if (block_of[s] >= 0) storages_[s].place.offset = memory.offsets[block_of[s]];
    }
    StoragePlan plan;
    plan.arena = memory.total;
    plan.values.resize(p_.sizes.size());
    for (size_t v = 0; v < p_.sizes.size(); ++v) {
      if (storage_of_[v] >= 0) plan.values[v] = storages_[storage_of_[v]].place;
    }
    plan.scratch.resize(p_.units.size());
    for (int u = 0; u < end_; ++u) {
      if (scratch_of_[u] >= 0) plan.scratch[u] = storages_[scratch_of_[u]].place;
    }
    for (const auto& copy : copies_) {
      plan.final_copies.push_back({storages_[copy.from].place, copy.to >= 0 ? storages_[copy.to].place : copy.place,
                                   storages_[copy.from].size});
    }
    return plan;
  }

  struct StorageCopy {
    int from, to;  // indices of storages; if `to` is -1, the target is `place`
    Place place;
  };
  const StorageProblem& p_;
  const int end_;
  std::vector<Storage> storages_;  // first the storages of the parameters, in order
  std::vector<int> last_use_, storage_of_, scratch_of_, claimed_;
  std::vector<std::vector<int>> results_of_;
  std::vector<StorageCopy> copies_;
};

}  // namespace

StoragePlan PlanStorage(const StorageProblem& problem) { return Planner(problem).Run(); }

}  // namespace alpa::fusion
