#include "worker/measure/facts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace alpa::worker {
namespace {

// The version of the measurements, part of the cache key. Raise it if other numbers are measured, or if a number is
// measured in another way.
constexpr int kMethodVersion = 3;
constexpr int kMostDevices = 8;  // maximum number of devices created for measuring

}  // namespace

cluster::NodeFacts FactsOf(const Machine& machine, const DeviceSettings& settings, cluster::NodeProfile profile) {
  cluster::NodeFacts facts;
  facts.host_key = machine.host_key;
  facts.host_name = machine.host_name;
  facts.cpus = machine.cpus;
  facts.cores = machine.cores;
  // A device uses no more cores than the machine has. If a device has more threads than the machine has cores, its
  // measured times already include the wait for cores.
  facts.device_cores = std::min(static_cast<double>(settings.threads), machine.cores);
  facts.profile = std::move(profile);
  return facts;
}

std::string DeviceName(const Machine& machine, const DeviceSettings& settings) {
  return absl::StrCat(machine.cpu_model, ", ", settings.threads, settings.threads == 1 ? " thread" : " threads");
}

std::string CacheKey(const Machine& machine, const DeviceSettings& settings, absl::string_view version) {
  return absl::StrCat("alpa ", version, ", measuring ", kMethodVersion, "; machine ", machine.lasting_id, ", ",
                      machine.cpu_model, ", processors ", absl::StrJoin(machine.cpus, ","), ", ", machine.cores,
                      " cores; ", settings.kind, ", ", settings.threads, " threads per device; ", settings.transport);
}

int MeasuringDevices(const Machine& machine, const DeviceSettings& settings) {
  const double fit = std::floor(machine.cores / std::max(1, settings.threads));
  return static_cast<int>(std::clamp(fit, 1.0, double{kMostDevices}));
}

}  // namespace alpa::worker
