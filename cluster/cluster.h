// A cluster as plain values: hosts, devices, links, and meshes of devices.
//
// Model:   A host is a machine that runs one or more nodes (workers). All devices of a host share its cores and its
//          network card. Two devices of one node communicate over the `inside` link of their host. Two devices of one
//          host but of different nodes use its `between` link. Devices of different hosts use the slower of the two
//          hosts' `outside` links.
// Threads: value types. No I/O. cluster/wire converts a cluster to and from a message.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "base/units.h"
#include "cluster/profile.h"

namespace alpa::cluster {

struct Device {
  DeviceId id;
  std::string node;       // the worker's name
  int local_index = 0;    // position of the device on its node
  std::string kind;       // "cpu" or "cuda"
  Bytes memory = 0;       // 0: no limit
  int host = -1;          // index in Cluster::hosts; -1: unknown
  int profile = -1;       // index in Cluster::profiles; -1: not measured
  double cores = 0;       // cores of its host that the device uses while it computes; 0: no shared core
  bool operator==(const Device&) const = default;
};

struct Host {
  std::string name;
  double cores = 0;          // cores that its devices share; 0: no limit
  // The number of devices that can run a memory-bound kernel at full speed at the same time. If n devices run such
  // kernels, each one takes max(1, n / memory_streams) times as long as it takes alone. 0: no limit.
  double memory_streams = 0;
  LinkProfile inside, between, outside;
  int outside_messages = 1;  // number of messages that the host can send to other hosts at full speed at the same time
  bool operator==(const Host&) const = default;
};

struct Cluster {
  std::vector<Device> devices;  // in order of increasing id
  std::vector<Host> hosts;
  std::vector<DeviceProfile> profiles;
  // Returns the device with this id, or null if there is none.
  const Device* Find(DeviceId id) const;
  bool operator==(const Cluster&) const = default;
  // Returns whether the cluster has devices, and every device has a host and a profile. The planner needs this to
  // compute the seconds of a plan.
  bool IsMeasured() const;
  // Returns the link between two devices. REQUIRES: IsMeasured(); `a` and `b` are different devices of this cluster.
  const LinkProfile& LinkOf(DeviceId a, DeviceId b) const;
};

// The distinct links of a cluster's hosts, in order of first use. Files and messages list each distinct link once.
struct DistinctLinks {
  struct OfHost {
    int inside = -1, between = -1, outside = -1;  // indices in `links`
  };
  std::vector<const LinkProfile*> links;  // owned by the cluster
  std::vector<OfHost> hosts;              // in the order of Cluster::hosts
};
DistinctLinks LinksOf(const Cluster& cluster);

// Returns OK if indices are in range, device ids increase, each node is on one host, and numbers, profiles and links
// are valid. Otherwise returns kInvalidArgument.
absl::Status Check(const Cluster& cluster);

// A logical grid of devices. Each stage runs on one mesh and is sharded over it. Axis names ("data", "tensor", ...)
// only serve as labels.
struct Mesh {
  std::vector<int64_t> shape;           // e.g. {2, 4}
  std::vector<std::string> axis_names;  // one per axis
  std::vector<DeviceId> devices;        // row-major over `shape`, all different

  int64_t size() const { return static_cast<int64_t>(devices.size()); }
  // Returns the coordinates of the device at position `index` of `devices`.
  std::vector<int64_t> Coordinates(int64_t index) const;
  // Groups the positions of the mesh. The positions in a group differ only along `axes`. Each group is in row-major
  // order of `axes`.
  std::vector<std::vector<int64_t>> Groups(const std::vector<int64_t>& axes) const;
  bool operator==(const Mesh&) const = default;
};

// Returns OK if the sizes agree, the devices are distinct, and every axis has a size of at least 1. Otherwise returns
// kInvalidArgument.
absl::Status Check(const Mesh& mesh);

}  // namespace alpa::cluster
