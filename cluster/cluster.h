// The machines, as plain values: what workers report about themselves, and meshes of their devices.
//
// Threads: value types. No I/O here; the inventory's proto form lives at the daemons' edges.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "base/units.h"

namespace alpa::cluster {

struct Device {
  DeviceId id;
  std::string node;       // the worker's name
  int local_index = 0;    // on its node
  std::string kind;       // "cpu", later "cuda"
  Bytes memory = 0;       // 0: not limited
};

struct Cluster {
  std::vector<Device> devices;  // by increasing id
  const Device* Find(DeviceId id) const;
};

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
