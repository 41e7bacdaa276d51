#include "cluster/cluster.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/status.h"

namespace alpa::cluster {

const Device* Cluster::Find(DeviceId id) const {
  auto it = std::find_if(devices.begin(), devices.end(), [&](const Device& d) { return d.id == id; });
  return it == devices.end() ? nullptr : &*it;
}

std::vector<int64_t> Mesh::Coordinates(int64_t index) const {
  std::vector<int64_t> coordinates(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    coordinates[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return coordinates;
}

std::vector<std::vector<int64_t>> Mesh::Groups(const std::vector<int64_t>& axes) const {
  // Keyed by the coordinates off the axes; within a key, ordered by the coordinates on them.
  std::map<std::vector<int64_t>, std::map<std::vector<int64_t>, int64_t>> groups;
  for (int64_t i = 0; i < size(); ++i) {
    const std::vector<int64_t> coordinates = Coordinates(i);
    std::vector<int64_t> off = coordinates, on;
    for (int64_t axis : axes) {
      on.push_back(coordinates[axis]);
      off[axis] = 0;
    }
    groups[off][on] = i;
  }
  std::vector<std::vector<int64_t>> result;
  for (const auto& [off, members] : groups) {
    std::vector<int64_t>& group = result.emplace_back();
    for (const auto& [on, index] : members) group.push_back(index);
  }
  return result;
}

absl::Status Check(const Mesh& mesh) {
  if (mesh.axis_names.size() != mesh.shape.size()) {
    return InvalidArgument("mesh has %d axes but %d axis names", mesh.shape.size(), mesh.axis_names.size());
  }
  int64_t size = 1;
  for (int64_t extent : mesh.shape) {
    if (extent < 1 || extent > static_cast<int64_t>(mesh.devices.size())) {
      return InvalidArgument("mesh axis of size %d over %d devices", extent, mesh.devices.size());
    }
    size *= extent;
    if (size > static_cast<int64_t>(mesh.devices.size())) break;
  }
  if (size != mesh.size() || mesh.devices.empty()) {
    return InvalidArgument("mesh shape has %d positions but %d devices are given", size, mesh.devices.size());
  }
  std::set<DeviceId> seen;
  for (DeviceId device : mesh.devices) {
    if (!device.valid()) return InvalidArgument("mesh names device %d", device.value());
    if (!seen.insert(device).second) return InvalidArgument("mesh names device %d twice", device.value());
  }
  return absl::OkStatus();
}

}  // namespace alpa::cluster
