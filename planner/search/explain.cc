// Formats the table of candidates, and the reason why the second candidate is slower.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "planner/search/search.h"

namespace alpa::planner {
namespace {

// The seconds of a step that the busiest mesh spends on each kind of work.
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

// Explains why `other` is slower than `best`.
std::string WhyNot(const Candidate& best, const Candidate& other) {
  const Shares a = SharesOf(best.simulation), b = SharesOf(other.simulation);
  std::vector<std::string> why;
  const auto add = [&](absl::string_view does, double seconds) {
    if (std::abs(seconds) < 0.005 * best.simulation.step_seconds) return;
    why.push_back(absl::StrFormat("%s %.3g s %s", does, std::abs(seconds), seconds > 0 ? "more" : "less"));
  };
  add("computes", b.compute - a.compute);
  add("runs collectives", b.collectives - a.collectives);
  add("waits", b.idle - a.idle);
  const double longer = 100 * (other.simulation.step_seconds / best.simulation.step_seconds - 1);
  if (longer < 0.05) return absl::StrFormat("%s would take the same time.\n", other.name);
  return absl::StrFormat("Why not %s: its step takes %.1f %% longer%s%s.\n", other.name, longer,
                         why.empty() ? "" : "; its busiest mesh ", absl::StrJoin(why, ", "));
}

}  // namespace

std::string PrintCandidates(const Searched& searched, size_t most) {
  std::string text;
  const auto add = [&](const std::string& step, const std::string& compute, const std::string& collectives,
                       const std::string& idle, const std::string& memory, const std::string& plan) {
    absl::StrAppendFormat(&text, "%12s  %12s  %12s  %12s  %12s  %s\n", step, compute, collectives, idle, memory, plan);
  };
  const auto step = [](double seconds) { return absl::StrFormat("%.4g s", seconds); };
  const auto part = [](double seconds) { return absl::StrFormat("%.3g s", seconds); };
  add("step", "compute", "collectives", "idle", "MiB/device", "plan");
  const std::vector<Candidate>& candidates = searched.candidates;
  for (size_t i = 0; i < std::min(most, candidates.size()); ++i) {
    const Candidate& candidate = candidates[i];
    if (!candidate.status.ok()) {
      add("-", "-", "-", "-", "-", absl::StrCat(candidate.name, ": ", candidate.status.message()));
      continue;
    }
    const Shares shares = SharesOf(candidate.simulation);
    add(step(candidate.simulation.step_seconds), part(shares.compute), part(shares.collectives), part(shares.idle),
        absl::StrFormat("%.1f", static_cast<double>(candidate.simulation.peak_device_memory()) / kMiB),
        absl::StrCat(candidate.name, candidate.note.empty() ? "" : absl::StrCat(" (", candidate.note, ")"),
                     candidate.fits ? "" : " (does not fit)"));
  }
  if (searched.roofline_seconds > 0) {
    add(step(searched.roofline_seconds), "-", "-", "-", "-",
        absl::StrFormat("the roofline bound of these devices; the plan takes %.1f times as long",
                        searched.plan.predicted.step_seconds / searched.roofline_seconds));
  }
  const bool another = candidates.size() > 1 && candidates[1].status.ok() && candidates[1].fits;
  if (another) absl::StrAppend(&text, WhyNot(candidates[0], candidates[1]));
  return text;
}

}  // namespace alpa::planner
