#include "planner/search/search.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "planner/cost/program_cost.h"
#include "planner/search/candidate_evaluator.h"
#include "planner/search/neighbours.h"

namespace alpa::planner {

namespace {

constexpr size_t kRefined = 3;            // number of candidates of the first round that the second round refines
constexpr size_t kRefinedInNeed = 6;      // replaces kRefined if no candidate fits into memory yet
constexpr int kExact = 2;                 // number of candidates that are tried again with an exact tensor axis
constexpr double kNearly = 1.3;           // multiple of the best step time; slower candidates get no exact choice
constexpr double kTensorSeconds = 5;      // time limit of the exact choice for one candidate
constexpr int64_t kRung = 4;              // factor by which the microbatches grow while a split does not fit
constexpr double kWorthwhile = 0.98;      // a change is kept only if the memory falls below this share of the old one

class Searcher {
 public:
  Searcher(const graph::Graph& program, const plan::Roles& roles, const cluster::Cluster& cluster,
           const PlanOptions& options, const SearchLimits& limits)
      : program_(program), cluster_(cluster), base_(options), pinned_(options), limits_(limits),
        end_(Clock::Real().Now() +
             std::chrono::duration_cast<MonotonicTime::duration>(std::chrono::duration<double>(limits.seconds))),
        evaluator_(program, roles, cluster) {
    base_.exact_tensor = false;
    base_.tensor_seconds = std::min(base_.tensor_seconds, kTensorSeconds);
  }

  absl::StatusOr<Searched> Run() {
    const int all = static_cast<int>(cluster_.devices.size());
    const int most = base_.devices > 0 ? base_.devices : all;
    for (int n = most; n >= 1 && !stopped_; --n) {
      // If the user names a number of devices, a smaller number is tried only if no larger number yields a plan. If the
      // number is open, all divisors of the cluster's number of devices are tried. Fewer devices may be faster if
      // devices share cores or a slow link.
      if (base_.devices > 0 ? AnyPlan() : most % n != 0 || TooFew(n)) continue;
      const std::vector<PlanOptions> splits = Splits(n);
      for (size_t i = 0; i < splits.size(); ++i) {
        next_splits_.assign(splits.begin() + static_cast<int64_t>(i) + 1, splits.end());
        ExpectRung(splits[i], !found_.empty() && !AnyFits());
        TrySplit(splits[i]);
      }
    }
    if (stopped_) return absl::CancelledError("the search was cancelled");
    if (found_.empty()) {
      return InvalidArgument("no split of %d devices into data x tensor x pipeline keeps to the pins", all);
    }
    const std::vector<size_t> first = Ranked();
    for (size_t i = 0; i < std::min(first.size(), AnyFits() ? kRefined : kRefinedInNeed); ++i) {
      if (found_[first[i]].status.ok()) Refine(first[i]);
    }
    TryExact();
    if (stopped_) return absl::CancelledError("the search was cancelled");
    const std::vector<size_t> ranked = Ranked();
    if (!found_[ranked.front()].status.ok()) return found_.front().status;
    const Candidate& best = found_[ranked.front()];
    if (!best.fits) {
      return FailedPrecondition(
          "no plan fits into the devices' memory; the smallest plan that was found, %s, needs %s per device: use "
          "devices with that much memory, more devices, or a smaller batch",
          best.name, BytesText(best.simulation.peak_device_memory()));
    }
    Searched searched;
    searched.complete = complete_;
    searched.roofline_seconds = RooflineSeconds(program_, cluster_);
    searched.plan = evaluator_.Evaluate(best.options).plan;
    searched.plan.predicted = {best.simulation.step_seconds, best.simulation.peak_device_memory()};
    searched.plan.origin = absl::StrFormat(
        "%s; the best of %d evaluated plans", best.name,
        std::count_if(found_.begin(), found_.end(), [](const Candidate& c) { return c.status.ok(); }));
    for (size_t i : ranked) {
      searched.candidates.push_back(found_[i]);
      if (!absl::IsInternal(found_[i].status)) continue;
      searched.bugs.push_back(absl::StrFormat("candidate \"%s\": %s", found_[i].name, found_[i].status.message()));
    }
    return searched;
  }

 private:
  // Tries a split of the devices. If its plan does not fit into memory, tries changes that need less memory, in this
  // order: more microbatches, remat, ZeRO-3, more microbatches again.
  void TrySplit(const PlanOptions& options) {
    std::optional<size_t> best = TryWithFewerMicrobatches(options);
    if (!best || !found_[*best].status.ok()) return;
    const auto fits = [&] { return found_[*best].fits; };
    const auto smaller = [&](size_t other) {
      return found_[other].status.ok() &&
             found_[other].simulation.peak_device_memory() <
                 kWorthwhile * found_[*best].simulation.peak_device_memory();
    };
    const auto step = [&](auto&& change) {
      PlanOptions changed = found_[*best].options;
      change(changed);
      ExpectRung(changed, true);
      const std::optional<size_t> tried = Try(changed);
      if (!tried || !smaller(*tried)) return false;
      best = tried;
      return true;
    };
    const auto more_microbatches = [&] {
      const auto times = [&](int64_t factor) {
        return step([&](PlanOptions& o) { o.microbatches = factor * std::max<int64_t>(1, o.microbatches); });
      };
      while (!pinned_.microbatches && !fits() && found_[*best].options.microbatches < kMaxMicrobatches &&
             (times(kRung) || times(2))) {
      }
    };
    more_microbatches();
    if (!fits() && !pinned_.remat) step([](PlanOptions& o) { o.remat = "layer"; });
    if (!fits() && !pinned_.zero && options.data_parallel > 1) step([](PlanOptions& o) { o.zero = 3; });
    more_microbatches();
  }

  // Tries a candidate. As long as the candidate yields no plan, halves its number of microbatches, because a smaller
  // number may divide the batch.
  std::optional<size_t> TryWithFewerMicrobatches(PlanOptions options) {
    while (true) {
      const std::optional<size_t> tried = Try(options);
      const int64_t fewer = options.microbatches / 2;
      if (!tried || found_[*tried].status.ok() || pinned_.microbatches || fewer < 1) return tried;
      options.microbatches = fewer;
    }
  }

  bool AnyFits() const {
    return std::any_of(found_.begin(), found_.end(), [](const Candidate& candidate) { return candidate.fits; });
  }

  bool AnyPlan() const {
    return std::any_of(found_.begin(), found_.end(), [](const Candidate& candidate) { return candidate.status.ok(); });
  }

  // Returns whether the roofline bound of `n` devices is at least the step time of the best candidate so far.
  bool TooFew(int n) const {
    if (!AnyFits()) return false;
    cluster::Cluster some = cluster_;
    some.devices.resize(n);
    return RooflineSeconds(program_, some) >= found_[Best()].simulation.step_seconds;
  }

  // Returns every way to split `n` devices by data, tensor and pipeline degree that keeps to the pins.
  std::vector<PlanOptions> Splits(int n) const {
    std::vector<PlanOptions> splits;
    if (!base_.pipeline.devices.empty()) return {base_};
    for (int meshes = 1; meshes <= n; ++meshes) {
      if (pinned_.meshes ? meshes != base_.pipeline.meshes : n % meshes != 0) continue;
      for (int tensor = 1; tensor * meshes <= n; ++tensor) {
        if (pinned_.tensor ? tensor != base_.tensor_parallel : n % (tensor * meshes) != 0) continue;
        const int data = pinned_.data ? base_.data_parallel : n / (tensor * meshes);
        if (data < 1 || data * tensor * meshes > n) continue;
        if (tensor == 1 && (base_.sequence || !base_.tensor_cuts.empty())) continue;
        PlanOptions options = base_;
        options.devices = 0;
        options.pipeline.meshes = meshes;
        options.tensor_parallel = tensor;
        options.data_parallel = data;
        if (!pinned_.microbatches && meshes > 1) options.microbatches = 2 * meshes;
        splits.push_back(options);
      }
    }
    return splits;
  }

  bool TimeIsUp() {
    if (stopped_) return true;
    if (found_.empty() || Clock::Real().Now() < end_) return false;
    complete_ = false;
    return true;
  }

  // Evaluates a candidate and returns its index in found_. Returns nothing if time is up, if the search is cancelled,
  // or if the candidate was tried before.
  std::optional<size_t> Try(const PlanOptions& options) {
    Candidate next;
    next.options = options;
    next.name = NameOf(options);
    if (TimeIsUp() || !names_.insert(next.name).second) return std::nullopt;
    const Candidate* best = found_.empty() ? nullptr : &found_[Best()];
    if (limits_.progress && !limits_.progress({next, static_cast<int>(found_.size()), best})) {
      stopped_ = true;
      return std::nullopt;
    }
    found_.push_back(evaluator_.Evaluate(options).candidate);
    return found_.size() - 1;
  }

  // Announces the next candidates to the evaluator, without those that were tried before.
  void Expect(std::vector<PlanOptions> options) {
    std::erase_if(options, [&](const PlanOptions& one) { return names_.contains(NameOf(one)); });
    evaluator_.Expect(options);
  }

  // Announces `options` and then the remaining splits. If `and_next`, also announces one candidate before these splits:
  // the one that is tried if `options` does not fit.
  void ExpectRung(const PlanOptions& options, bool and_next) {
    std::vector<PlanOptions> next = {options};
    if (and_next && !pinned_.microbatches) {
      next.push_back(options);
      next.back().microbatches = kRung * std::max<int64_t>(1, options.microbatches);
    }
    next.insert(next.end(), next_splits_.begin(), next_splits_.end());
    Expect(std::move(next));
  }

  // Returns whether candidate `a` is better than candidate `b`, in the order that search.h defines.
  bool Better(size_t a, size_t b) const {
    const Candidate &one = found_[a], &other = found_[b];
    if (one.status.ok() != other.status.ok()) return one.status.ok();
    if (one.fits != other.fits) return one.fits;
    if (!one.fits) return one.simulation.peak_device_memory() < other.simulation.peak_device_memory();
    return one.simulation.step_seconds < other.simulation.step_seconds;
  }

  // REQUIRES: found_ is not empty.
  size_t Best() const {
    size_t best = 0;
    for (size_t i = 1; i < found_.size(); ++i) {
      if (Better(i, best)) best = i;
    }
    return best;
  }

  // Returns all candidates, best first. Candidates without a plan are last, in the order in which they were tried.
  std::vector<size_t> Ranked() const {
    std::vector<size_t> ranked(found_.size());
    std::iota(ranked.begin(), ranked.end(), size_t{0});
    std::stable_sort(ranked.begin(), ranked.end(), [&](size_t a, size_t b) { return Better(a, b); });
    return ranked;
  }

  // Takes the best candidates that have a tensor axis and tries them again with the exact choice of that axis. This
  // choice takes seconds for large programs, so a candidate gets it only if it is nearly as good as the best one.
  void TryExact() {
    const std::vector<size_t> ranked = Ranked();
    const bool fits = found_[ranked.front()].fits;
    const double nearly = kNearly * found_[ranked.front()].simulation.step_seconds;
    int tried = 0;
    for (size_t i : ranked) {
      const Candidate& candidate = found_[i];
      if (!candidate.status.ok() || candidate.fits != fits || tried == kExact) return;
      if (candidate.simulation.step_seconds > nearly) return;
      if (candidate.options.most_tensor() < 2) continue;
      PlanOptions options = candidate.options;
      options.exact_tensor = true;
      Try(options);
      ++tried;
    }
  }

  // Improves a candidate by one change at a time until no change makes it better.
  void Refine(size_t best) {
    while (true) {
      const size_t before = best;
      const std::vector<PlanOptions> neighbours = Neighbours(found_[before], pinned_);
      Expect(neighbours);
      for (const PlanOptions& options : neighbours) {
        const std::optional<size_t> tried = Try(options);
        if (tried && Better(*tried, best)) best = *tried;
      }
      if (best == before) return;
    }
  }

  const graph::Graph& program_;
  const cluster::Cluster& cluster_;
  PlanOptions base_;
  const PinnedOptions pinned_;
  const SearchLimits& limits_;
  const MonotonicTime end_;
  CandidateEvaluator evaluator_;
  std::vector<PlanOptions> next_splits_;  // the splits of the devices after the current one
  std::vector<Candidate> found_;          // the evaluated candidates, in the order in which they were tried
  std::set<std::string> names_;           // names of the candidates in found_
  bool complete_ = true;
  bool stopped_ = false;
};

}  // namespace

absl::StatusOr<Searched> Search(const graph::Graph& program, const plan::Roles& roles, const cluster::Cluster& cluster,
                                const PlanOptions& options, const SearchLimits& limits) {
  return Searcher(program, roles, cluster, options, limits).Run();
}

}  // namespace alpa::planner
