#include "worker/measure/facts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace alpa::worker {
namespace {

// To be raised whenever other things are measured, or the same in another way.
constexpr int kMeasuring = 3;
constexpr int kMostDevices = 8;

}  // namespace

cluster::NodeFacts FactsOf(const Machine& machine, const DeviceSettings& settings, cluster::NodeProfile profile) {
  cluster::NodeFacts facts;
  facts.host_key = machine.host_key;
  facts.host_name = machine.host_name;
  facts.cpus = machine.cpus;
  facts.cores = machine.cores;
  // With more threads than cores, a device was measured at their mercy already.
  facts.device_cores = std::min(static_cast<double>(settings.threads), machine.cores);
  facts.profile = std::move(profile);
  return facts;
}

std::string DeviceName(const Machine& machine, const DeviceSettings& settings) {
  return absl::StrCat(machine.cpu_model, ", ", settings.threads, settings.threads == 1 ? " thread" : " threads");
}

std::string CacheKey(const Machine& machine, const DeviceSettings& settings, absl::string_view version) {
  return absl::StrCat("alpa ", version, ", measuring ", kMeasuring, "; machine ", machine.lasting_id, ", ", machine.cpu_model,
                      ", processors ", absl::StrJoin(machine.cpus, ","), ", ", machine.cores, " cores; ", settings.kind, ", ",
                      settings.threads, " threads a device; ", settings.transport);
}

int MeasuringDevices(const Machine& machine, const DeviceSettings& settings) {
  const double fit = std::floor(machine.cores / std::max(1, settings.threads));
  return static_cast<int>(std::clamp(fit, 1.0, double{kMostDevices}));
}

}  // namespace alpa::worker
