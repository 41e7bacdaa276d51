#include "planner/search/neighbours.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace alpa::planner {
namespace {

// Returns the load of each mesh: its busy seconds, or its memory in bytes if the candidate does not fit.
std::vector<double> Load(const Candidate& candidate) {
  if (candidate.fits) return candidate.simulation.busy_seconds;
  std::vector<double> load;
  for (const MeshMemory& memory : candidate.simulation.memory) load.push_back(static_cast<double>(memory.total()));
  return load;
}

size_t Most(const std::vector<double>& load) { return std::max_element(load.begin(), load.end()) - load.begin(); }

// Returns the number of devices of each mesh.
std::vector<int> DevicesOf(const PlanOptions& options) {
  if (!options.pipeline.devices.empty()) return options.pipeline.devices;
  return std::vector<int>(options.pipeline.meshes, options.tensor_of(0) * std::max(1, options.data_parallel));
}

// Returns new shares of the work: smaller shares for meshes with a load above the mean, larger shares for the other
// meshes.
std::vector<double> Balanced(const Candidate& candidate) {
  const std::vector<double> load = Load(candidate);
  const double mean = std::accumulate(load.begin(), load.end(), 0.0) / static_cast<double>(load.size());
  std::vector<double> shares = candidate.options.pipeline.shares;
  shares.resize(load.size(), 1);
  for (size_t m = 0; m < load.size(); ++m) {
    if (load[m] > 0) shares[m] = std::clamp(shares[m] * mean / load[m], 0.01, 100.0);
  }
  return shares;
}

// Returns the number of devices of each mesh after the idlest mesh has given devices to the busiest mesh. The number
// that moves is the least common multiple of the two tensor degrees, usually 1. If the idlest mesh would have no device
// left, it gives none. Returns nothing if no mesh can give devices.
std::vector<int> Shifted(const Candidate& candidate) {
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

}  // namespace

std::vector<PlanOptions> Neighbours(const Candidate& candidate, const PinnedOptions& pinned) {
  const PlanOptions& options = candidate.options;
  const PipelineOptions& pipeline = options.pipeline;
  std::vector<PlanOptions> neighbours;
  const auto with = [&](auto&& change) {
    PlanOptions changed = options;
    change(changed);
    neighbours.push_back(std::move(changed));
  };
  const int64_t k = std::max<int64_t>(1, options.microbatches);
  if (!pinned.microbatches) {
    if (2 * k <= kMaxMicrobatches) with([&](PlanOptions& o) { o.microbatches = 2 * k; });
    if (k > 1) with([&](PlanOptions& o) { o.microbatches = k / 2; });
  }
  if (!pinned.remat) with([&](PlanOptions& o) { o.remat = o.remat == "none" ? "layer" : "none"; });
  if (!pinned.zero && (options.data_parallel > 1 || !pipeline.devices.empty())) {
    for (int zero : {0, 1, 2, 3}) {
      if (zero != options.zero) with([&](PlanOptions& o) { o.zero = zero; });
    }
  }
  if (!pinned.sequence && options.most_tensor() > 1) with([&](PlanOptions& o) { o.sequence = !o.sequence; });
  if (pipeline.meshes == 1) return neighbours;
  for (const char* schedule : {"1f1b", "zero-bubble"}) {
    if (!pinned.schedule && schedule != pipeline.schedule) {
      with([&](PlanOptions& o) { o.pipeline.schedule = schedule; });
    }
  }
  if (!pinned.stages) {
    const int each = pipeline.stages_per_mesh;
    if (2 * each * pipeline.meshes <= plan::kMaxStages) {
      with([&](PlanOptions& o) { o.pipeline.stages_per_mesh = 2 * each; });
    }
    if (each > 1) with([&](PlanOptions& o) { o.pipeline.stages_per_mesh = each / 2; });
  }
  with([&](PlanOptions& o) { o.pipeline.shares = Balanced(candidate); });
  if (pinned.data) return neighbours;
  if (!pinned.devices) {
    if (std::vector<int> devices = Shifted(candidate); !devices.empty()) {
      with([&](PlanOptions& o) {
        o.pipeline.devices = std::move(devices);
        o.pipeline.shares.clear();
        o.data_parallel = 0;
      });
    }
  }
  if (pinned.tensor) return neighbours;
  // The mesh with the highest load gets twice or half its tensor degree.
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

}  // namespace alpa::planner
