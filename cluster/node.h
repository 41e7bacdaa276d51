// The facts that a worker reports about itself and its machine, and the cluster that a set of workers forms.
//
// Model:   Workers with equal host keys run on one machine. If they may also run on a common processor, they share a
//          host: its cores, memory and network card. The cluster holds equal device profiles once.
// Threads: value types and pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/cluster.h"

namespace alpa::cluster {

// The part of the facts that a worker measures. A worker that restarts on the same machine with the same settings
// reports the same values, because it keeps them in a file (worker/measure/profile_cache.h).
struct NodeProfile {
  DeviceProfile device;  // the profile of each device of the worker
  LinkProfile inside, between, outside;
  double memory_streams = 0;  // the same as Host::memory_streams
  bool measured = false;      // false: assumed, because nothing was measured
  bool operator==(const NodeProfile&) const = default;
};

struct NodeFacts {
  std::string host_key;       // equal on all workers of a machine, different on different machines
  std::string host_name;      // human-readable
  std::vector<int32_t> cpus;  // processors that the worker may run on, increasing; empty: all
  double cores = 0;           // number of these processors that the worker may use, after quotas; 0: unknown
  double device_cores = 0;    // cores that each device uses while it computes; 0: devices use no shared cores
  int outside_messages = 1;   // the same as Host::outside_messages
  NodeProfile profile;
  bool operator==(const NodeFacts&) const = default;
};

struct Node {
  std::string name, kind;
  Bytes memory = 0;                // the memory of each device
  std::vector<DeviceId> devices;   // one entry per local index
  std::optional<NodeFacts> facts;  // if absent, the devices have no host and no profile
};

// Returns OK if all sizes are bounded and all numbers are valid. Otherwise returns kInvalidArgument.
absl::Status Check(const NodeFacts& facts);

// Builds the cluster that the nodes form. If a node measured the links of its host, the host takes its links from that
// node.
// REQUIRES: names and device ids are distinct; facts pass Check.
Cluster Assemble(const std::vector<Node>& nodes);

// Returns the part of a cluster that consists of `devices`, with the hosts and profiles that they use. Ignores ids that
// the cluster does not have.
Cluster Only(const Cluster& cluster, const std::vector<DeviceId>& devices);

}  // namespace alpa::cluster
