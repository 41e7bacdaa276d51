// What one worker says about itself and its machine, and the cluster that several make together.
//
// Model:   workers of one machine (equal host keys) that may run on common processors share one host: its cores, its
// memory, its
//          network card. Profiles that are equal are held once.
// Threads: value types and pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/cluster.h"

namespace alpa::cluster {

// What is measured: the same on every start on the same machine with the same settings.
struct NodeProfile {
  DeviceProfile device;  // of each of its devices
  LinkProfile inside, between, outside;
  double memory_streams = 0;  // as in Host
  bool measured = false;      // false: assumed, for want of a measurement
  bool operator==(const NodeProfile&) const = default;
};

struct NodeFacts {
  std::string host_key;       // equal on all workers of a machine, and on no others
  std::string host_name;      // for people
  std::vector<int32_t> cpus;  // processors that it may run on, increasing; empty: all
  double cores = 0;           // of them, that it may use: a quota can make it less; 0: not known
  double device_cores = 0;    // that each of its devices uses while it computes; 0: none that they share
  int outside_messages = 1;
  NodeProfile profile;
  bool operator==(const NodeFacts&) const = default;
};

struct Node {
  std::string name, kind;
  Bytes memory = 0;                // of each device
  std::vector<DeviceId> devices;   // by local index
  std::optional<NodeFacts> facts;  // nothing: its devices have neither host nor profile
};

// OK where everything is bounded and sound.
absl::Status Check(const NodeFacts& facts);

// REQUIRES: names and device ids are distinct; facts pass Check.
Cluster Assemble(const std::vector<Node>& nodes);

// The part of a cluster that is these devices, with the hosts and profiles that they use. Devices that it does not have
// are left out.
Cluster Only(const Cluster& cluster, const std::vector<DeviceId>& devices);

}  // namespace alpa::cluster
