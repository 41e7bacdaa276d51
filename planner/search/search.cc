#include "planner/search/search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "planner/cost/program_cost.h"
#include "planner/search/pricer.h"

namespace alpa::planner {

namespace {

constexpr size_t kRefined = 3;            // candidates of the first round that are varied
constexpr size_t kRefinedInNeed = 6;      // where nothing fits yet
constexpr int kExact = 2;                 // candidates whose tensor axis is chosen exactly
constexpr double kNearly = 1.3;           // times the best one's step
constexpr double kTensorSeconds = 5;      // of choosing one candidate's tensor axis
constexpr int64_t kMaxMicrobatches = 1024;  // that are tried
constexpr int64_t kRung = 4;                 // times as many micro-batches, where a split does not fit
constexpr double kWorthwhile = 0.98;         // of the memory: what saves less is no remedy

// What the user said, against what is open.
struct Pinned {
  explicit Pinned(const PlanOptions& options)
      : data(options.data_parallel > 0), tensor(options.tensor_parallel > 0), microbatches(options.microbatches > 0),
        zero(options.zero > 0), remat(options.remat != "none"), meshes(options.pipeline.meshes > 1 || !options.pipeline.devices.empty()),
        devices(!options.pipeline.devices.empty()), sequence(options.sequence), stages(options.pipeline.stages_per_mesh > 1) {}
  bool data, tensor, microbatches, zero, remat, meshes, devices, sequence, stages;
};

class Searcher {
 public:
  Searcher(const graph::Graph& program, const plan::Roles& roles, const cluster::Cluster& cluster, const PlanOptions& options,
           const SearchLimits& limits)
      : program_(program), cluster_(cluster), base_(options), pinned_(options), limits_(limits),
        end_(Clock::Real().Now() + std::chrono::duration_cast<MonotonicTime::duration>(std::chrono::duration<double>(limits.seconds))),
        pricer_(program, roles, cluster) {
    base_.exact_tensor = false;
    base_.tensor_seconds = std::min(base_.tensor_seconds, kTensorSeconds);
  }

  absl::StatusOr<Searched> Run() {
    const int all = static_cast<int>(cluster_.devices.size());
    const int most = base_.devices > 0 ? base_.devices : all;
    for (int n = most; n >= 1 && !stopped_; --n) {
      // As many devices as are asked for, and fewer only where so many are of no use. Where the number is open fewer may be
      // faster: they share cores or a slow link.
      if (base_.devices > 0 ? AnyPlan() : most % n != 0 || TooFew(n)) continue;
      const std::vector<PlanOptions> splits = Splits(n);
      for (size_t i = 0; i < splits.size(); ++i) {
        next_splits_.assign(splits.begin() + static_cast<int64_t>(i) + 1, splits.end());
        ExpectRung(splits[i], !found_.empty() && !AnyFits());
        TrySplit(splits[i]);
      }
    }
    if (stopped_) return absl::CancelledError("the search was called off");
    if (found_.empty()) return InvalidArgument("no split of %d devices keeps to the pins", all);
    const std::vector<size_t> first = Ranked();
    for (size_t i = 0; i < std::min(first.size(), AnyFits() ? kRefined : kRefinedInNeed); ++i) {
      if (found_[first[i]].status.ok()) Refine(first[i]);
    }
    TryExact();
    if (stopped_) return absl::CancelledError("the search was called off");
    const std::vector<size_t> ranked = Ranked();
    if (!found_[ranked.front()].status.ok()) return found_.front().status;
    const Candidate& best = found_[ranked.front()];
    if (!best.fits) {
      return FailedPrecondition("no plan fits: the smallest that was found, %s, needs %s on each device; give the devices that "
                                "much, take more devices, or a smaller batch",
                                best.name, BytesText(best.simulation.peak_device_memory()));
    }
    Searched searched;
    searched.complete = complete_;
    searched.roofline_seconds = RooflineSeconds(program_, cluster_);
    searched.plan = pricer_.Price(best.options).plan;
    searched.plan.predicted = {best.simulation.step_seconds, best.simulation.peak_device_memory()};
    searched.plan.origin = absl::StrFormat("%s; the best of %d that were priced", best.name,
                                           std::count_if(found_.begin(), found_.end(), [](const Candidate& c) { return c.status.ok(); }));
    for (size_t i : ranked) searched.candidates.push_back(found_[i]);
    return searched;
  }

 private:
  // The split as it stands and, where it does not fit, what needs less: more micro-batches, then remat, then ZeRO.
  void TrySplit(const PlanOptions& options) {
    std::optional<size_t> best = TryWithFewerMicrobatches(options);
    if (!best || !found_[*best].status.ok()) return;
    const auto fits = [&] { return found_[*best].fits; };
    const auto smaller = [&](size_t other) {
      return found_[other].status.ok() &&
             found_[other].simulation.peak_device_memory() < kWorthwhile * found_[*best].simulation.peak_device_memory();
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
      while (!pinned_.microbatches && !fits() && found_[*best].options.microbatches < kMaxMicrobatches && (times(kRung) || times(2))) {}
    };
    more_microbatches();
    if (!fits() && !pinned_.remat) step([](PlanOptions& o) { o.remat = "layer"; });
    if (!fits() && !pinned_.zero && options.data_parallel > 1) step([](PlanOptions& o) { o.zero = 3; });
    more_microbatches();
  }

  // A batch that so many micro-batches do not divide may be divided by fewer.
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

  // Even at their best, n devices are no faster than what was found.
  bool TooFew(int n) const {
    if (!AnyFits()) return false;
    cluster::Cluster some = cluster_;
    some.devices.resize(n);
    return RooflineSeconds(program_, some) >= found_[Best()].simulation.step_seconds;
  }

  // Data x tensor x pipeline on n devices, in all ways that keep to the pins.
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

  // The candidate's number; nothing where time is up or it was tried before.
  std::optional<size_t> Try(const PlanOptions& options) {
    const std::string name = NameOf(options);
    if (TimeIsUp() || !names_.insert(name).second) return std::nullopt;
    Candidate candidate;
    candidate.options = options;
    candidate.name = name;
    const Candidate* best = found_.empty() ? nullptr : &found_[Best()];
    if (limits_.progress && !limits_.progress({candidate, static_cast<int>(found_.size()), best})) {
      stopped_ = true;
      return std::nullopt;
    }
    const Priced& priced = pricer_.Price(options);
    candidate.status = priced.status;
    candidate.simulation = priced.simulation;
    candidate.fits = priced.fits;
    candidate.note = priced.note;
    found_.push_back(std::move(candidate));
    return found_.size() - 1;
  }

  // Of these, what is not tried yet will be.
  void Expect(std::vector<PlanOptions> options) {
    std::erase_if(options, [&](const PlanOptions& one) { return names_.contains(NameOf(one)); });
    pricer_.Expect(options);
  }

  // This one is next, then perhaps what comes where it does not fit either, then the other splits.
  void ExpectRung(const PlanOptions& options, bool and_next) {
    std::vector<PlanOptions> next = {options};
    if (and_next && !pinned_.microbatches) {
      next.push_back(options);
      next.back().microbatches = kRung * std::max<int64_t>(1, options.microbatches);
    }
    next.insert(next.end(), next_splits_.begin(), next_splits_.end());
    Expect(std::move(next));
  }

  bool Better(size_t a, size_t b) const {
    const Candidate &one = found_[a], &other = found_[b];
    if (one.status.ok() != other.status.ok()) return one.status.ok();
    if (one.fits != other.fits) return one.fits;
    if (!one.fits) return one.simulation.peak_device_memory() < other.simulation.peak_device_memory();
    return one.simulation.step_seconds < other.simulation.step_seconds;
  }

  // REQUIRES: there is a candidate.
  size_t Best() const {
    size_t best = 0;
    for (size_t i = 1; i < found_.size(); ++i) {
      if (Better(i, best)) best = i;
    }
    return best;
  }

  // All candidates, best first; those that are no plans last, in the order in which they were tried.
  std::vector<size_t> Ranked() const {
    std::vector<size_t> ranked(found_.size());
    std::iota(ranked.begin(), ranked.end(), size_t{0});
    std::stable_sort(ranked.begin(), ranked.end(), [&](size_t a, size_t b) { return Better(a, b); });
    return ranked;
  }

  // The exact choice of the tensor axis takes seconds for large programs: it is for the best candidates with one, where they are
  // nearly the best of all.
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

  // One change to what is open.
  std::vector<PlanOptions> Neighbours(const Candidate& candidate) const {
    const PlanOptions& options = candidate.options;
    const PipelineOptions& pipeline = options.pipeline;
    std::vector<PlanOptions> neighbours;
    const auto with = [&](auto&& change) {
      PlanOptions changed = options;
      change(changed);
      neighbours.push_back(std::move(changed));
    };
    const int64_t k = std::max<int64_t>(1, options.microbatches);
    if (!pinned_.microbatches) {
      if (2 * k <= kMaxMicrobatches) with([&](PlanOptions& o) { o.microbatches = 2 * k; });
      if (k > 1) with([&](PlanOptions& o) { o.microbatches = k / 2; });
    }
    if (!pinned_.remat) with([&](PlanOptions& o) { o.remat = o.remat == "none" ? "layer" : "none"; });
    if (!pinned_.zero && (options.data_parallel > 1 || !pipeline.devices.empty())) {
      for (int zero : {0, 1, 2, 3}) {
        if (zero != options.zero) with([&](PlanOptions& o) { o.zero = zero; });
      }
    }
    if (!pinned_.sequence && options.most_tensor() > 1) with([&](PlanOptions& o) { o.sequence = !o.sequence; });
    if (pipeline.meshes == 1) return neighbours;
    for (const char* schedule : {"1f1b", "zero-bubble"}) {
      if (schedule != pipeline.schedule) with([&](PlanOptions& o) { o.pipeline.schedule = schedule; });
    }
    if (!pinned_.stages) {
      const int each = pipeline.stages_per_mesh;
      if (2 * each * pipeline.meshes <= plan::kMaxStages) with([&](PlanOptions& o) { o.pipeline.stages_per_mesh = 2 * each; });
      if (each > 1) with([&](PlanOptions& o) { o.pipeline.stages_per_mesh = each / 2; });
    }
    with([&](PlanOptions& o) { o.pipeline.shares = Balanced(candidate); });
    if (pinned_.data) return neighbours;
    if (!pinned_.devices) {
      if (std::vector<int> devices = Shifted(candidate); !devices.empty()) {
        with([&](PlanOptions& o) {
          o.pipeline.devices = std::move(devices);
          o.pipeline.shares.clear();
          o.data_parallel = 0;
        });
      }
    }
    if (pinned_.tensor) return neighbours;
    // The mesh that is busiest, or holds most where that is too much, with fewer or more ways of cutting weights on its devices.
    const size_t m = Most(Load(candidate));
    const int devices = DevicesOf(options)[m], ways = options.tensor_of(m);
    for (int other : {2 * ways, ways / 2}) {
      if (other < 1 || devices % other != 0) continue;
      with([&](PlanOptions& o) {
        o.pipeline.devices = DevicesOf(options);
        o.pipeline.tensor.clear();
        for (int i = 0; i < pipeline.meshes; ++i) o.pipeline.tensor.push_back(options.tensor_of(i));
        o.pipeline.tensor[m] = other;
        o.data_parallel = 0;
        if (o.most_tensor() == 1) o.sequence = false;
      });
    }
    return neighbours;
  }

  // By mesh: how busy it is or, where memory is what is short, how much it holds.
  static std::vector<double> Load(const Candidate& candidate) {
    if (candidate.fits) return candidate.simulation.busy_seconds;
    std::vector<double> load;
    for (const MeshMemory& memory : candidate.simulation.memory) load.push_back(static_cast<double>(memory.total()));
    return load;
  }

  static size_t Most(const std::vector<double>& load) { return std::max_element(load.begin(), load.end()) - load.begin(); }

  static std::vector<int> DevicesOf(const PlanOptions& options) {
    if (!options.pipeline.devices.empty()) return options.pipeline.devices;
    return std::vector<int>(options.pipeline.meshes, options.tensor_of(0) * std::max(1, options.data_parallel));
  }

  // Less work for the meshes whose load is above the mean.
  static std::vector<double> Balanced(const Candidate& candidate) {
    const std::vector<double> load = Load(candidate);
    const double mean = std::accumulate(load.begin(), load.end(), 0.0) / static_cast<double>(load.size());
    std::vector<double> shares = candidate.options.pipeline.shares;
    shares.resize(load.size(), 1);
    for (size_t m = 0; m < load.size(); ++m) {
      if (load[m] > 0) shares[m] = std::clamp(shares[m] * mean / load[m], 0.01, 100.0);
    }
    return shares;
  }

  // The devices of each mesh with one more (or as many more as the two meshes' tensor parallelism divides) on the busiest, taken from
  // the idlest; empty where that has no more than these.
  static std::vector<int> Shifted(const Candidate& candidate) {
    const PlanOptions& options = candidate.options;
    const std::vector<double>& busy = candidate.simulation.busy_seconds;
    std::vector<int> devices = DevicesOf(options);
    const size_t most = Most(busy);
    std::optional<size_t> least;
    const auto moved = [&](size_t m) { return std::lcm(options.tensor_of(most), options.tensor_of(m)); };
    for (size_t m = 0; m < busy.size(); ++m) {
      if (m == most || devices[m] <= moved(m)) continue;
      if (!least || busy[m] < busy[*least]) least = m;
    }
    if (!least) return {};
    devices[most] += moved(*least);
    devices[*least] -= moved(*least);
    return devices;
  }

  void Refine(size_t best) {
    while (true) {
      const size_t before = best;
      const std::vector<PlanOptions> neighbours = Neighbours(found_[before]);
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
  const Pinned pinned_;
  const SearchLimits& limits_;
  const MonotonicTime end_;
  Pricer pricer_;
  std::vector<PlanOptions> next_splits_;  // behind the one that is tried
  std::vector<Candidate> found_;
  std::set<std::string> names_;
  bool complete_ = true;
  bool stopped_ = false;
};

}  // namespace

namespace {

// Where the step of the busiest mesh goes.
struct Shares {
  double compute = 0, collectives = 0, idle = 0;
};
Shares SharesOf(const Simulation& simulation) {
  const std::vector<double>& busy = simulation.busy_seconds;
  if (busy.empty()) return {};
  const auto most = std::max_element(busy.begin(), busy.end()) - busy.begin();
  const double collectives = std::min(simulation.collective_seconds[most], busy[most]);
  return {busy[most] - collectives, collectives, std::max(0.0, simulation.step_seconds - busy[most])};
}

std::string WhyNot(const Candidate& best, const Candidate& other) {
  const Shares a = SharesOf(best.simulation), b = SharesOf(other.simulation);
  std::vector<std::string> why;
  const auto add = [&](absl::string_view does, double seconds) {
    if (std::abs(seconds) < 0.005 * best.simulation.step_seconds) return;
    why.push_back(absl::StrFormat("%s %.3g s %s", does, std::abs(seconds), seconds > 0 ? "longer" : "less"));
  };
  add("computes", b.compute - a.compute);
  add("is in collectives", b.collectives - a.collectives);
  add("waits", b.idle - a.idle);
  const double longer = 100 * (other.simulation.step_seconds / best.simulation.step_seconds - 1);
  return absl::StrFormat("Why not %s: its step takes %.1f %% longer%s%s.\n", other.name, longer,
                         why.empty() ? "" : "; its busiest mesh ", absl::StrJoin(why, ", "));
}

}  // namespace

std::string PrintCandidates(const Searched& searched, size_t most) {
  std::string text = absl::StrFormat("%12s  %12s  %12s  %12s  %12s  %s\n", "step", "compute", "collectives", "idle", "MiB a device", "plan");
  const std::vector<Candidate>& candidates = searched.candidates;
  for (size_t i = 0; i < std::min(most, candidates.size()); ++i) {
    const Candidate& candidate = candidates[i];
    if (!candidate.status.ok()) {
      absl::StrAppendFormat(&text, "%12s  %12s  %12s  %12s  %12s  %s: %s\n", "-", "-", "-", "-", "-", candidate.name, candidate.status.message());
      continue;
    }
    const Shares shares = SharesOf(candidate.simulation);
    absl::StrAppendFormat(&text, "%10.4g s  %10.3g s  %10.3g s  %10.3g s  %12.1f  %s%s%s\n", candidate.simulation.step_seconds,
                          shares.compute, shares.collectives, shares.idle,
                          static_cast<double>(candidate.simulation.peak_device_memory()) / kMiB, candidate.name,
                          candidate.note.empty() ? "" : absl::StrCat(" (", candidate.note, ")"),
                          candidate.fits ? "" : " (does not fit)");
  }
  if (searched.roofline_seconds > 0) {
    absl::StrAppendFormat(&text, "%10.4g s  %12s  %12s  %12s  %12s  the roofline bound of these devices; the plan takes %.1f times as long\n",
                          searched.roofline_seconds, "-", "-", "-", "-",
                          searched.plan.predicted.step_seconds / searched.roofline_seconds);
  }
  const bool another = candidates.size() > 1 && candidates[1].status.ok() && candidates[1].fits;
  if (another) absl::StrAppend(&text, WhyNot(candidates[0], candidates[1]));
  return text;
}

absl::StatusOr<Searched> Search(const graph::Graph& program, const plan::Roles& roles, const cluster::Cluster& cluster,
                                const PlanOptions& options, const SearchLimits& limits) {
  return Searcher(program, roles, cluster, options, limits).Run();
}

}  // namespace alpa::planner
