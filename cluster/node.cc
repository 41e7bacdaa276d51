#include "cluster/node.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/status.h"

namespace alpa::cluster {
namespace {

// Bounds on the facts that a worker sends.
constexpr size_t kMaxTextBytes = 256;     // maximum number of bytes of a key or a name
constexpr size_t kMaxCpus = 65'536;       // maximum number of processors of a node
constexpr double kMaxCores = 65'536;      // maximum number of cores of a node or a device; also bounds memory_streams
constexpr size_t kMaxPoints = 1'000;      // maximum number of points of a curve
constexpr size_t kMaxProducts = 10'000;   // maximum number of product points of one precision

absl::Status CheckSize(const DeviceProfile& profile) {
  if (profile.name.size() > kMaxTextBytes)
    return InvalidArgument("the name of a device profile is too long: %d bytes", profile.name.size());
  if (profile.products.size() > kMaxProducts || profile.half_products.size() > kMaxProducts) {
    return InvalidArgument("profile \"%s\" has more than %d products", profile.name, kMaxProducts);
  }
  if (profile.memory.points.size() > kMaxPoints) {
    return InvalidArgument("profile \"%s\" has a curve of more than %d points", profile.name, kMaxPoints);
  }
  return absl::OkStatus();
}

absl::Status CheckSize(const LinkProfile& link) {
  if (link.name.size() > kMaxTextBytes)
    return InvalidArgument("the name of a link is too long: %d bytes", link.name.size());
  for (const Curve* curve :
       {&link.message, &link.all_reduce, &link.all_gather, &link.reduce_scatter, &link.all_to_all}) {
    if (curve->points.size() > kMaxPoints) {
      return InvalidArgument("link \"%s\" has a curve of more than %d points", link.name, kMaxPoints);
    }
  }
  if (link.message.points.empty()) return InvalidArgument("link \"%s\" has no message curve", link.name);
  return absl::OkStatus();
}

// Returns whether two nodes may run on a common processor. An empty list stands for all processors.
bool Overlap(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  if (a.empty() || b.empty()) return true;
  auto x = a.begin();
  auto y = b.begin();
  while (x != a.end() && y != b.end()) {
    if (*x == *y) return true;
    ++(*x < *y ? x : y);
  }
  return false;
}

// Puts the nodes that have facts into one group per host. Two nodes share a host if they run on one machine and a chain
// of common processors connects them.
std::vector<std::vector<const Node*>> Machines(const std::vector<Node>& nodes) {
  std::vector<std::vector<const Node*>> machines;
  for (const Node& node : nodes) {
    if (!node.facts) continue;
    std::vector<const Node*> joined = {&node};
    size_t place = machines.size();
    for (size_t m = 0; m < machines.size(); ++m) {
      const bool shares = std::any_of(machines[m].begin(), machines[m].end(), [&](const Node* other) {
        return other->facts->host_key == node.facts->host_key && Overlap(other->facts->cpus, node.facts->cpus);
      });
      if (!shares) continue;
      // The node can connect several groups. Merge them into one.
      joined.insert(joined.end() - 1, machines[m].begin(), machines[m].end());
      machines[m].clear();
      place = std::min(place, m);
    }
    if (place == machines.size()) machines.emplace_back();
    machines[place] = std::move(joined);
  }
  std::erase_if(machines, [](const auto& machine) { return machine.empty(); });
  return machines;
}

Host HostOf(const std::vector<const Node*>& machine) {
  const auto measured =
      std::find_if(machine.begin(), machine.end(), [](const Node* n) { return n->facts->profile.measured; });
  const NodeFacts& first = *(measured == machine.end() ? machine.front() : *measured)->facts;
  Host host;
  host.name = first.host_name;
  host.inside = first.profile.inside;
  host.between = first.profile.between;
  host.outside = first.profile.outside;
  std::set<int32_t> cpus;
  bool same = true;
  for (const Node* node : machine) {
    const NodeFacts& facts = *node->facts;
    host.cores = std::max(host.cores, facts.cores);
    host.memory_streams = std::max(host.memory_streams, facts.profile.memory_streams);
    host.outside_messages = std::max(host.outside_messages, facts.outside_messages);
    cpus.insert(facts.cpus.begin(), facts.cpus.end());
    same = same && facts.cpus == first.cpus;
  }
  // Nodes with equal processor sets share one quota. If the sets differ, the host has at least the union of the sets.
  if (!same) host.cores = std::max(host.cores, static_cast<double>(cpus.size()));
  return host;
}

}  // namespace

absl::Status Check(const NodeFacts& facts) {
  if (facts.host_key.empty() || facts.host_key.size() > kMaxTextBytes || facts.host_name.size() > kMaxTextBytes) {
    return InvalidArgument("the host key is empty, or the host key or name has more than %d bytes", kMaxTextBytes);
  }
  if (facts.cpus.size() > kMaxCpus)
    return InvalidArgument("the worker lists %d processors; at most %d are allowed", facts.cpus.size(), kMaxCpus);
  for (size_t i = 0; i < facts.cpus.size(); ++i) {
    if (facts.cpus[i] < 0 || (i > 0 && facts.cpus[i] <= facts.cpus[i - 1])) {
      return InvalidArgument("processor numbers must increase from at least 0; found %d", facts.cpus[i]);
    }
  }
  for (double cores : {facts.cores, facts.device_cores, facts.profile.memory_streams}) {
    if (!(cores >= 0 && cores <= kMaxCores))
      return InvalidArgument("a number of cores or memory streams is %g; expected 0 to %g", cores, kMaxCores);
  }
  if (facts.outside_messages < 1 || facts.outside_messages > 1024) {
    return InvalidArgument("outside_messages is %d; expected 1 to 1024", facts.outside_messages);
  }
  ALPA_RETURN_IF_ERROR(CheckSize(facts.profile.device));
  ALPA_RETURN_IF_ERROR(Check(facts.profile.device));
  for (const LinkProfile* link : {&facts.profile.inside, &facts.profile.between, &facts.profile.outside}) {
    ALPA_RETURN_IF_ERROR(CheckSize(*link));
    ALPA_RETURN_IF_ERROR(Check(*link));
  }
  return absl::OkStatus();
}

Cluster Assemble(const std::vector<Node>& nodes) {
  Cluster cluster;
  std::map<const Node*, int> host_of;
  for (const auto& machine : Machines(nodes)) {
    for (const Node* node : machine) host_of[node] = static_cast<int>(cluster.hosts.size());
    cluster.hosts.push_back(HostOf(machine));
  }
  for (const Node& node : nodes) {
    Device device;
    device.node = node.name;
    device.kind = node.kind;
    device.memory = node.memory;
    if (node.facts) {
      device.host = host_of.at(&node);
      device.cores = node.facts->device_cores;
      const DeviceProfile& profile = node.facts->profile.device;
      const auto known = std::find(cluster.profiles.begin(), cluster.profiles.end(), profile);
      device.profile = static_cast<int>(known - cluster.profiles.begin());
      if (known == cluster.profiles.end()) cluster.profiles.push_back(profile);
    }
    for (size_t i = 0; i < node.devices.size(); ++i) {
      device.id = node.devices[i];
      device.local_index = static_cast<int>(i);
      cluster.devices.push_back(device);
    }
  }
  std::sort(cluster.devices.begin(), cluster.devices.end(),
            [](const Device& a, const Device& b) { return a.id < b.id; });
  return cluster;
}

Cluster Only(const Cluster& cluster, const std::vector<DeviceId>& devices) {
  const std::set<DeviceId> wanted(devices.begin(), devices.end());
  Cluster out;
  std::map<int, int> hosts = {{-1, -1}}, profiles = {{-1, -1}};  // old index -> new index
  for (Device device : cluster.devices) {
    if (!wanted.contains(device.id)) continue;
    const auto [host, new_host] = hosts.try_emplace(device.host, static_cast<int>(out.hosts.size()));
    if (new_host) out.hosts.push_back(cluster.hosts[device.host]);
    const auto [profile, new_profile] = profiles.try_emplace(device.profile, static_cast<int>(out.profiles.size()));
    if (new_profile) out.profiles.push_back(cluster.profiles[device.profile]);
    device.host = host->second;
    device.profile = profile->second;
    out.devices.push_back(std::move(device));
  }
  return out;
}

}  // namespace alpa::cluster
