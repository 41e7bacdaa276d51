#include "cluster/cluster.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/status.h"

namespace alpa::cluster {

const Device* Cluster::Find(DeviceId id) const {
  auto it = std::find_if(devices.begin(), devices.end(), [&](const Device& d) { return d.id == id; });
  return it == devices.end() ? nullptr : &*it;
}

bool Cluster::IsMeasured() const {
  return !devices.empty() && std::all_of(devices.begin(), devices.end(),
                                         [](const Device& d) { return d.host >= 0 && d.profile >= 0; });
}

const LinkProfile& Cluster::LinkOf(DeviceId a, DeviceId b) const {
  const Device* from = Find(a);
  const Device* to = Find(b);
  ALPA_CHECK(from != nullptr && to != nullptr && from->host >= 0 && to->host >= 0);
  if (from->node == to->node) return hosts[from->host].inside;
  if (from->host == to->host) return hosts[from->host].between;
  constexpr double kLarge = 16 << 20;  // bytes; the slower link is the one that takes longer for a message of this size
  const LinkProfile& one = hosts[from->host].outside;
  const LinkProfile& other = hosts[to->host].outside;
  return one.message.Seconds(kLarge) >= other.message.Seconds(kLarge) ? one : other;
}

DistinctLinks LinksOf(const Cluster& cluster) {
  DistinctLinks distinct;
  const auto number_of = [&](const LinkProfile& link) {
    const auto found = std::find_if(distinct.links.begin(), distinct.links.end(),
                                    [&](const LinkProfile* known) { return *known == link; });
    const auto number = static_cast<int>(found - distinct.links.begin());
    if (found == distinct.links.end()) distinct.links.push_back(&link);
    return number;
  };
  // The braces fix the order of evaluation, so links are numbered in order of first use.
  for (const Host& host : cluster.hosts) {
    distinct.hosts.push_back({number_of(host.inside), number_of(host.between), number_of(host.outside)});
  }
  return distinct;
}

absl::Status Check(const Cluster& cluster) {
  DeviceId last;
  std::map<std::string, int> hosts;  // key: the node; value: its host
  for (const Device& device : cluster.devices) {
    if (!device.id.valid() || (last.valid() && device.id <= last)) {
      return InvalidArgument("device ids are not in increasing order at device %d", device.id.value());
    }
    last = device.id;
    if (device.host < -1 || device.host >= static_cast<int>(cluster.hosts.size())) {
      return InvalidArgument("device %d names host %d; the cluster has %d hosts", device.id.value(), device.host,
                             cluster.hosts.size());
    }
    if (device.profile < -1 || device.profile >= static_cast<int>(cluster.profiles.size())) {
      return InvalidArgument("device %d names profile %d; the cluster has %d profiles", device.id.value(),
                             device.profile, cluster.profiles.size());
    }
    if (device.memory < 0 || !(device.cores >= 0) || !std::isfinite(device.cores)) {
      return InvalidArgument("device %d has %d bytes of memory and %g cores; expected finite values of at least 0",
                             device.id.value(), device.memory, device.cores);
    }
    if (device.local_index < 0)
      return InvalidArgument("device %d has local index %d; expected at least 0", device.id.value(),
                             device.local_index);
    if (hosts.try_emplace(device.node, device.host).first->second != device.host) {
      return InvalidArgument("node \"%s\" of device %d is on two hosts", device.node, device.id.value());
    }
  }
  for (const DeviceProfile& profile : cluster.profiles) ALPA_RETURN_IF_ERROR(Check(profile));
  for (const Host& host : cluster.hosts) {
    if (!(host.cores >= 0) || !(host.memory_streams >= 0) || !std::isfinite(host.cores) ||
        !std::isfinite(host.memory_streams) || host.outside_messages < 1) {
      return InvalidArgument(
          "host \"%s\" has %g cores, %g memory streams and %d outside messages; expected at least 0, 0 and 1",
          host.name, host.cores, host.memory_streams, host.outside_messages);
    }
    for (const LinkProfile* link : {&host.inside, &host.between, &host.outside}) ALPA_RETURN_IF_ERROR(Check(*link));
  }
  return absl::OkStatus();
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
  // The outer key holds the coordinates along all other axes. The inner key holds the coordinates along `axes`.
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
      return InvalidArgument("a mesh axis has size %d; expected 1 to %d, the number of devices", extent,
                             mesh.devices.size());
    }
    size *= extent;
    if (size > static_cast<int64_t>(mesh.devices.size())) break;
  }
  if (size != mesh.size() || mesh.devices.empty()) {
    return InvalidArgument("mesh shape has %d positions but %d devices are given", size, mesh.devices.size());
  }
  std::set<DeviceId> seen;
  for (DeviceId device : mesh.devices) {
    if (!device.valid())
      return InvalidArgument("the mesh contains device %d; device ids start at 0", device.value());
    if (!seen.insert(device).second)
      return InvalidArgument("the mesh contains device %d twice", device.value());
  }
  return absl::OkStatus();
}

}  // namespace alpa::cluster
