#include "worker/measure/measure.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "worker/measure/device_measure.h"
#include "worker/measure/link_measure.h"
#include "worker/measure/timing.h"

namespace alpa::worker {
namespace {

cluster::LinkProfile Line(std::string name, double latency, double bytes_per_second) {
  cluster::LinkProfile link;
  link.name = std::move(name);
  link.message = cluster::Curve::Line(latency, bytes_per_second);
  link.seconds_per_member = 2 * latency;
  return link;
}
cluster::LinkProfile AssumedInside() { return Line("in one process (assumed)", 5e-6, 5e9); }
cluster::LinkProfile AssumedBetween() { return Line("between processes (assumed)", 20e-6, 3e9); }
cluster::LinkProfile AssumedOutside() { return Line("network (assumed)", 50e-6, 1e9); }

absl::StatusOr<cluster::LinkProfile> MeasureBetween(const MeasureOptions& options, bool far, const TimeLimit& limit) {
  ALPA_ASSIGN_OR_RETURN(const auto a, options.transport(far));
  ALPA_ASSIGN_OR_RETURN(const auto b, options.transport(far));
  return MeasureLinkOf(*a, b.get(), limit);
}

}  // namespace

absl::StatusOr<Measured> MeasureNode(const MeasureOptions& options) {
  Measured out;
  cluster::NodeProfile& profile = out.profile;
  profile.measured = true;
  // Each part of the measurement gets a share of the time, so that some time is left for the last part.
  const double of_link = 0.4 * options.seconds / 3;
  {
    const std::unique_ptr<kernels::Backend> backend = options.backend(options.devices);
    ALPA_ASSIGN_OR_RETURN(profile.device, MeasureDevice(*backend, TimeLimit(0.5 * options.seconds)));
    ALPA_ASSIGN_OR_RETURN(profile.memory_streams, MeasureMemoryStreams(*backend, TimeLimit(0.1 * options.seconds)));
  }
  profile.device.name = options.device_name;
  {
    ALPA_ASSIGN_OR_RETURN(const auto transport, options.transport(false));
    ALPA_ASSIGN_OR_RETURN(profile.inside, MeasureLinkOf(*transport, nullptr, TimeLimit(of_link)));
    profile.inside.name = "in one process";
  }
  const auto to_others = [&](bool far, const char* name, const cluster::LinkProfile& assumed,
                             absl::string_view others) {
    auto link = MeasureBetween(options, far, TimeLimit(of_link));
    if (!link.ok()) {
      out.remarks.push_back(absl::StrCat("the link to other ", others, " could not be measured and is assumed: ",
                                         link.status().message()));
      return assumed;
    }
    link->name = name;
    return *std::move(link);
  };
  profile.between = to_others(false, "between processes", AssumedBetween(), "workers of this machine");
  profile.outside = to_others(true, "network, measured over loopback", AssumedOutside(), "machines");
  return out;
}

cluster::NodeProfile AssumedProfile(const std::string& device_name, double threads) {
  cluster::NodeProfile profile;
  cluster::DeviceProfile& device = profile.device;
  device.name = absl::StrCat(device_name, " (assumed)");
  for (const auto& [extent, rate] : {std::pair<int64_t, double>{16, 3e9}, {64, 15e9}, {256, 30e9}, {1024, 40e9}}) {
    const double work = 2 * std::pow(static_cast<double>(extent), 3);
    device.products.push_back({extent, extent, extent, work / (rate * threads)});
  }
  device.memory = cluster::Curve::Line(0, 8e9);
  device.element_seconds = 0.2e-9 / threads;
  device.division_seconds = 0.5e-9 / threads;
  device.transcendental_seconds = 1.5e-9 / threads;
  device.reduced_seconds = 0.5e-9 / threads;
  device.run_seconds = 2e-9 / threads;
  device.slow_element_seconds = 2e-9;
  device.kernel_seconds = 0.3e-6;
  device.program_seconds = 2e-6;
  profile.inside = AssumedInside();
  profile.between = AssumedBetween();
  profile.outside = AssumedOutside();
  return profile;
}

}  // namespace alpa::worker
