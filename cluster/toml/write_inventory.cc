#include <algorithm>
#include <charconv>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "cluster/toml/inventory_toml.h"

namespace alpa::cluster {
namespace {

// Returns the shortest text that parses to exactly this number.
std::string Number(double value) {
  char text[64];
  std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  if (std::all_of(text, end.ptr, [](char c) { return c >= '0' && c <= '9'; }) && end.ptr - text > 15) {
    // Digits alone would read as an integer, which may be too large for 64 bits.
    end = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific);
  }
  return std::string(text, end.ptr);
}

std::string Quoted(absl::string_view text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') absl::StrAppend(&out, "\\", std::string(1, static_cast<char>(c)));
    else if (c < 0x20 || c == 0x7f) absl::StrAppendFormat(&out, "\\u%04x", c);
    else out += static_cast<char>(c);
  }
  return out + "\"";
}

void Row(std::string& out, absl::string_view key, absl::string_view value) {
  absl::StrAppend(&out, key, " = ", value, "\n");
}

void WriteCurve(std::string& out, absl::string_view key, const Curve& curve) {
  if (curve.points.empty()) return;
  Row(out, key,
      absl::StrCat("[",
                   absl::StrJoin(curve.points, ", ",
                                 [](std::string* o, const CurvePoint& p) {
                                   absl::StrAppend(o, "[", Number(p.amount), ", ", Number(p.seconds), "]");
                                 }),
                   "]"));
}

void WriteProducts(std::string& out, absl::string_view key, const std::vector<ProductPoint>& points) {
  if (points.empty()) return;
  absl::StrAppend(&out, key, " = [  # m, n, k, seconds\n");
  for (const ProductPoint& p : points)
    absl::StrAppend(&out, "  [", p.m, ", ", p.n, ", ", p.k, ", ", Number(p.seconds), "],\n");
  absl::StrAppend(&out, "]\n");
}

// The kind and memory that a [device.KEY] table lists. The table of a node lists a kind or memory only if it differs
// from the one here.
struct Usual {
  std::string kind = "cpu";
  Bytes memory = 0;
};

void WriteProfile(std::string& out, const DeviceProfile& profile, size_t number, const Usual& usual) {
  absl::StrAppend(&out, "\n[device.device-", number, "]\n");
  Row(out, "name", Quoted(profile.name));
  Row(out, "kind", Quoted(usual.kind));
  Row(out, "memory", absl::StrCat(usual.memory));
  Row(out, "kernel_overhead", Number(profile.kernel_seconds));
  Row(out, "program_overhead", Number(profile.program_seconds));
  Row(out, "element_seconds", Number(profile.element_seconds));
  Row(out, "division_seconds", Number(profile.division_seconds));
  Row(out, "transcendental_seconds", Number(profile.transcendental_seconds));
  Row(out, "reduced_seconds", Number(profile.reduced_seconds));
  Row(out, "run_seconds", Number(profile.run_seconds));
  Row(out, "slow_element_seconds", Number(profile.slow_element_seconds));
  WriteCurve(out, "memory_curve", profile.memory);
  WriteProducts(out, "products", profile.products);
  WriteProducts(out, "half_products", profile.half_products);
}

absl::Status WriteLink(std::string& out, const LinkProfile& link, size_t number) {
  if (link.message.points.empty())
    return FailedPrecondition("cannot write the cluster: link \"%s\" has no message curve", link.name);
  absl::StrAppend(&out, "\n[link.link-", number, "]\n");
  Row(out, "name", Quoted(link.name));
  Row(out, "member_latency", Number(link.seconds_per_member));
  WriteCurve(out, "message", link.message);
  WriteCurve(out, "all_reduce", link.all_reduce);
  WriteCurve(out, "all_gather", link.all_gather);
  WriteCurve(out, "reduce_scatter", link.reduce_scatter);
  WriteCurve(out, "all_to_all", link.all_to_all);
  return absl::OkStatus();
}

bool SameNode(const Device& a, const Device& b) {
  return a.node == b.node && a.kind == b.kind && a.memory == b.memory && a.profile == b.profile && a.cores == b.cores;
}

void WriteNode(std::string& out, const std::vector<const Device*>& devices, const Usual& usual) {
  const Device& first = *devices.front();
  absl::StrAppend(&out, "[[host.node]]\n");
  Row(out, "name", Quoted(first.node));
  Row(out, "device", Quoted(absl::StrCat("device-", first.profile)));
  Row(out, "devices", absl::StrCat(devices.size()));
  if (first.kind != usual.kind) Row(out, "kind", Quoted(first.kind));
  if (first.memory != usual.memory) Row(out, "memory", absl::StrCat(first.memory));
  if (first.cores != 0) Row(out, "device_cores", Number(first.cores));
  const auto join = [&](auto value) {
    return absl::StrCat(
        "[", absl::StrJoin(devices, ", ", [&](std::string* o, const Device* d) { absl::StrAppend(o, value(*d)); }),
        "]");
  };
  Row(out, "ids", join([](const Device& d) { return d.id.value(); }));
  Row(out, "local_indices", join([](const Device& d) { return d.local_index; }));
}

}  // namespace

absl::StatusOr<std::string> WriteInventory(const Cluster& cluster) {
  if (absl::Status sound = Check(cluster); !sound.ok())
    return FailedPrecondition("cannot write the cluster: %s", sound.message());
  if (!cluster.IsMeasured())
    return FailedPrecondition("cannot write the cluster: it has no devices, or some are not measured");
  const DistinctLinks links = LinksOf(cluster);
  const auto named = [](int link) { return Quoted(absl::StrCat("link-", link)); };
  std::vector<Usual> usual(cluster.profiles.size());
  for (auto device = cluster.devices.rbegin(); device != cluster.devices.rend(); ++device) {
    usual[device->profile] = {device->kind, device->memory};
  }
  std::vector<std::vector<const Device*>> devices(cluster.hosts.size());
  for (const Device& device : cluster.devices) devices[device.host].push_back(&device);
  std::string hosts;
  for (size_t h = 0; h < cluster.hosts.size(); ++h) {
    const Host& host = cluster.hosts[h];
    std::vector<std::vector<const Device*>> nodes;
    if (devices[h].empty())
      return FailedPrecondition("cannot write the cluster: host \"%s\" has no devices", host.name);
    for (const Device* device : devices[h]) {
      auto same =
          std::find_if(nodes.begin(), nodes.end(), [&](const auto& node) { return SameNode(*node.front(), *device); });
      if (same == nodes.end()) same = nodes.emplace(nodes.end());
      same->push_back(device);
    }
    absl::StrAppend(&hosts, "\n[[host]]\n");
    Row(hosts, "name", Quoted(host.name));
    if (host.cores != 0) Row(hosts, "cores", Number(host.cores));
    if (host.memory_streams != 0) Row(hosts, "memory_streams", Number(host.memory_streams));
    Row(hosts, "inside", named(links.hosts[h].inside));
    Row(hosts, "between", named(links.hosts[h].between));
    Row(hosts, "outside", named(links.hosts[h].outside));
    Row(hosts, "outside_messages", absl::StrCat(host.outside_messages));
    for (const auto& node : nodes) WriteNode(hosts, node, usual[node.front()->profile]);
  }
  std::string out = "# A measured cluster. Numbers without a unit are bytes or seconds.\n";
  for (size_t i = 0; i < cluster.profiles.size(); ++i) WriteProfile(out, cluster.profiles[i], i, usual[i]);
  for (size_t i = 0; i < links.links.size(); ++i) ALPA_RETURN_IF_ERROR(WriteLink(out, *links.links[i], i));
  return out + hosts;
}

}  // namespace alpa::cluster
