// What a worker tells the coordinator about its machine and itself.
//
// Threads: pure functions.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "cluster/node.h"
#include "worker/measure/machine.h"

namespace alpa::worker {

// What a measurement is of, beside the machine.
struct DeviceSettings {
  std::string kind;       // "cpu"
  int threads = 1;        // of each device
  std::string transport;  // between workers, with whatever else says how it works
};

// A device computes with all of its threads, on cores that the machine's other devices want, too.
cluster::NodeFacts FactsOf(const Machine& machine, const DeviceSettings& settings, cluster::NodeProfile profile);

// "AMD EPYC 7763 64-Core Processor, 2 threads".
std::string DeviceName(const Machine& machine, const DeviceSettings& settings);

// For ProfileCache: all that a measurement depends on. `version` is that of our programs.
std::string CacheKey(const Machine& machine, const DeviceSettings& settings, absl::string_view version);

// How many devices to make for measuring: as many as compute at one time without sharing cores, up to 8.
int MeasuringDevices(const Machine& machine, const DeviceSettings& settings);

}  // namespace alpa::worker
