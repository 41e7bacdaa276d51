// The machines, as plain values: what workers report about themselves, and meshes of their devices.
//
// Model:  a host is a machine, on which one or more nodes (workers) run; all its devices share its cores and its network card.
//         Devices of one node talk over their host's `inside` link, those of two nodes of a host over `between`, others over the
//         slower of their hosts' `outside` links.
// Threads: value types. No I/O here; the inventory's proto form lives at the daemons' edges.
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
  int local_index = 0;    // on its node
  std::string kind;       // "cpu", later "cuda"
  Bytes memory = 0;       // 0: not limited
  int host = -1;          // in Cluster::hosts; -1: nothing is known about it
  int profile = -1;       // in Cluster::profiles; -1: not measured
  double cores = 0;       // of its host, which it uses while it computes; 0: none that it shares
  bool operator==(const Device&) const = default;
};

struct Host {
  std::string name;
  double cores = 0;         // that its devices share; 0: as many as they want
  // Of the time that memory-bound kernels take alone, what each takes when n devices run one: max(1, n / this). 0: no limit.
  double memory_streams = 0;
  LinkProfile inside, between, outside;
  int outside_messages = 1; // that go out at full speed at one time
  bool operator==(const Host&) const = default;
};

struct Cluster {
  std::vector<Device> devices;  // by increasing id
  std::vector<Host> hosts;
  std::vector<DeviceProfile> profiles;
  const Device* Find(DeviceId id) const;
  bool operator==(const Cluster&) const = default;
  // Every device has a host and a profile: plans can be priced.
  bool IsMeasured() const;
  // Between two different devices. REQUIRES: IsMeasured().
  const LinkProfile& LinkOf(DeviceId a, DeviceId b) const;
};

// The links of a cluster's hosts, equal ones once, for its written forms: in order of their first use.
struct DistinctLinks {
  struct OfHost {
    int inside = -1, between = -1, outside = -1;  // in `links`
  };
  std::vector<const LinkProfile*> links;  // the cluster's own
  std::vector<OfHost> hosts;
};
DistinctLinks LinksOf(const Cluster& cluster);

// OK where indices are in range, ids increase, profiles and links are sound.
absl::Status Check(const Cluster& cluster);

// A logical grid of devices; the unit on which a stage is sharded. Axis names ("data", "model", ...) are for people.
struct Mesh {
  std::vector<int64_t> shape;           // e.g. {2, 4}
  std::vector<std::string> axis_names;  // as many
  std::vector<DeviceId> devices;        // row-major over `shape`, all different

  int64_t size() const { return static_cast<int64_t>(devices.size()); }
  // Coordinates of the mesh's `index`-th device.
  std::vector<int64_t> Coordinates(int64_t index) const;
  // The groups of mesh positions that differ only along `axes`; each in row-major order of these axes.
  std::vector<std::vector<int64_t>> Groups(const std::vector<int64_t>& axes) const;
  bool operator==(const Mesh&) const = default;
};

// OK where sizes agree, devices are distinct and every axis is at least 1.
absl::Status Check(const Mesh& mesh);

}  // namespace alpa::cluster
