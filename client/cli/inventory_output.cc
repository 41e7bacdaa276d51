#include "client/cli/inventory_output.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"

namespace alpa::client {
namespace {

// Returns "117 GFLOP/s", or "-" if the rate is not positive.
std::string Rate(double per_second, absl::string_view unit) {
  if (!(per_second > 0)) return "-";
  const bool tera = per_second >= 1e13;
  return absl::StrFormat("%.3g %s%s", per_second / (tera ? 1e12 : 1e9), tera ? "T" : "G", unit);
}

// Returns the highest rate, in FLOP/s, among the measured matrix products of a profile.
double Peak(const std::vector<cluster::ProductPoint>& products) {
  double peak = 0;
  for (const cluster::ProductPoint& p : products) {
    peak = std::max(peak,
                    2 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) / p.seconds);
  }
  return peak;
}

// Returns the rate for the largest measured amount of data, because smaller amounts can stay in caches.
double Bandwidth(const cluster::Curve& curve) {
  return curve.points.empty() ? 0 : curve.points.back().amount / curve.points.back().seconds;
}

std::string Latency(const cluster::Curve& curve) {
  return curve.points.empty() ? "-" : Seconds(curve.points.front().seconds);
}

// Returns ascending ids as text with ranges: "0-3, 6".
std::string Ranges(const std::vector<int32_t>& ids) {
  std::string out;
  for (size_t i = 0; i < ids.size();) {
    size_t end = i + 1;
    while (end < ids.size() && ids[end] == ids[end - 1] + 1) ++end;
    absl::StrAppend(&out, out.empty() ? "" : ", ", ids[i]);
    if (end - i > 1) absl::StrAppend(&out, "-", ids[end - 1]);
    i = end;
  }
  return out;
}

}  // namespace

std::string InventoryText(const cluster::Cluster& cluster) {
  if (cluster.hosts.empty()) return "";
  std::map<std::pair<int, int>, std::vector<int32_t>> devices;  // key: (host, profile)
  for (const cluster::Device& device : cluster.devices) {
    if (device.host >= 0) devices[{device.host, device.profile}].push_back(device.id.value());
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [kind, ids] : devices) {
    const cluster::Host& host = cluster.hosts[kind.first];
    const std::string cores = host.cores > 0 ? absl::StrCat(host.cores) : "-";
    if (kind.second < 0) {
      rows.push_back({Harmless(host.name), cores, Ranges(ids), "-", "-", "-", "-"});
      continue;
    }
    const cluster::DeviceProfile& profile = cluster.profiles[kind.second];
    rows.push_back({Harmless(host.name), cores, Ranges(ids), Rate(Peak(profile.products), "FLOP/s"),
                    Rate(Peak(profile.half_products), "FLOP/s"), Rate(Bandwidth(profile.memory), "B/s"),
                    Harmless(profile.name)});
  }
  std::string out = Table({"HOST", "CORES", "DEVICES", "FLOAT32", "FLOAT16", "MEMORY", "DEVICE PROFILE"}, rows);
  rows.clear();
  for (const cluster::Host& host : cluster.hosts) {
    for (const auto& [between, link] :
         {std::pair<const char*, const cluster::LinkProfile*>{"devices of a worker", &host.inside},
          {"workers of the host", &host.between},
          {"this and other hosts", &host.outside}}) {
      rows.push_back({Harmless(host.name), between, Latency(link->message), Rate(Bandwidth(link->message), "B/s"),
                      Harmless(link->name)});
    }
  }
  absl::StrAppend(&out, "\n", Table({"HOST", "BETWEEN", "LATENCY", "BANDWIDTH", "LINK"}, rows));
  return out;
}

}  // namespace alpa::client
