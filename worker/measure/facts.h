// The facts that a worker reports to the coordinator about its machine and itself.
//
// Threads: pure functions.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "cluster/node.h"
#include "worker/measure/machine.h"

namespace alpa::worker {

// The settings on which a measurement depends, in addition to the machine.
struct DeviceSettings {
  std::string kind;       // "cpu"
  int threads = 1;        // per device
  std::string transport;  // between workers, with the settings that affect its speed
};

// Returns the facts of a worker with these settings. A device computes with all of its threads, on cores that it shares
// with the machine's other devices.
cluster::NodeFacts FactsOf(const Machine& machine, const DeviceSettings& settings, cluster::NodeProfile profile);

// Returns, for example, "AMD EPYC 7763 64-Core Processor, 2 threads".
std::string DeviceName(const Machine& machine, const DeviceSettings& settings);

// Returns the key for ProfileCache: everything on which a measurement depends. `version` is the version of this build.
std::string CacheKey(const Machine& machine, const DeviceSettings& settings, absl::string_view version);

// Returns the number of devices to create for measuring. It is the largest number, from 1 to 8, of devices that can
// compute at the same time without sharing cores.
int MeasuringDevices(const Machine& machine, const DeviceSettings& settings);

}  // namespace alpa::worker
