#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "cluster/toml/inventory_toml.h"
#include "cluster/toml/reader.h"
#include "cluster/toml/datasheet_device.h"

namespace alpa::cluster {
namespace {

constexpr double kMaxCores = 1e6;     // maximum number of cores of a host or a device; also bounds memory_streams
constexpr double kMaxBytes = 0x1p60;  // maximum memory of a device
// The maximum number of dots in a key. Each dot nests one more table. Freeing nested tables recurses, so it needs stack
// in proportion to their depth.
constexpr int kMaxDots = 200;

struct DeviceKind {
  std::string kind;
  Bytes memory = 0;
  int profile = -1;
};

absl::StatusOr<Curve> ReadCurve(const Section& section, absl::string_view key) {
  ALPA_ASSIGN_OR_RETURN(const auto rows, section.Rows(key, 2));
  Curve curve;
  for (const std::vector<double>& row : rows) curve.points.push_back({row[0], row[1]});
  if (absl::Status sound = Check(curve); !sound.ok()) return section.Error(key, sound.message());
  return curve;
}

absl::StatusOr<std::vector<ProductPoint>> ReadProducts(const Section& section, absl::string_view key) {
  ALPA_ASSIGN_OR_RETURN(const auto rows, section.Rows(key, 4));
  std::vector<ProductPoint> points;
  for (const std::vector<double>& row : rows) {
    for (int i = 0; i < 3; ++i) {
      if (row[i] < 1 || row[i] > 1e12 || row[i] != static_cast<double>(static_cast<int64_t>(row[i]))) {
        return section.Error(
            key,
            absl::StrFormat("expected rows of m, n, k (whole numbers from 1 to 1e12) and seconds, got %g", row[i]));
      }
    }
    points.push_back(
        {static_cast<int64_t>(row[0]), static_cast<int64_t>(row[1]), static_cast<int64_t>(row[2]), row[3]});
  }
  return points;
}

absl::StatusOr<std::vector<EfficiencyPoint>> ReadEfficiency(const Section& section, absl::string_view key,
                                                            const std::vector<EfficiencyPoint>& missing) {
  if (!section.Has(key)) return missing;
  std::vector<EfficiencyPoint> points;
  if (section.Get(key)->is_number()) {
    ALPA_ASSIGN_OR_RETURN(const double fraction, section.Number(key, 1e-6, 1, 0));
    return std::vector<EfficiencyPoint>{{1, fraction}};
  }
  ALPA_ASSIGN_OR_RETURN(const auto rows, section.Rows(key, 2));
  for (const std::vector<double>& row : rows) {
    if (row[0] < 1 || row[1] < 1e-6 || row[1] > 1 || (!points.empty() && row[0] <= points.back().size)) {
      return section.Error(
          key, absl::StrFormat("expected rows of size (at least 1, increasing) and fraction of the peak (at most 1), "
                               "got %g, %g",
                               row[0], row[1]));
    }
    points.push_back({row[0], row[1]});
  }
  if (points.empty()) return section.Error(key, "expected a fraction of the peak, or rows of size and fraction");
  return points;
}

// Reads the memory of a device. `missing` is as in Section::Quantity.
absl::StatusOr<Bytes> ReadMemory(const Section& section, double missing) {
  ALPA_ASSIGN_OR_RETURN(const double memory, section.Quantity("memory", Unit::kBytes, false, missing));
  if (memory > kMaxBytes)
    return section.Error("memory", absl::StrFormat("expected at most %g bytes, got %g", kMaxBytes, memory));
  return static_cast<Bytes>(memory);
}

absl::StatusOr<DeviceProfile> ReadDatasheetDevice(const Section& section, const std::string& name) {
  DatasheetDevice datasheet;
  datasheet.name = name;
  ALPA_ASSIGN_OR_RETURN(datasheet.float32, section.Quantity("float32", Unit::kFlopsPerSecond, true, -1));
  ALPA_ASSIGN_OR_RETURN(datasheet.float16, section.Quantity("float16", Unit::kFlopsPerSecond, true, 0));
  ALPA_ASSIGN_OR_RETURN(datasheet.elements,
                        section.Quantity("elements", Unit::kFlopsPerSecond, true, datasheet.float32));
  ALPA_ASSIGN_OR_RETURN(datasheet.efficiency,
                        ReadEfficiency(section, "efficiency", {{64, 0.05}, {256, 0.3}, {1024, 0.7}, {4096, 0.85}}));
  ALPA_ASSIGN_OR_RETURN(datasheet.half_efficiency, ReadEfficiency(section, "float16_efficiency", datasheet.efficiency));
  ALPA_ASSIGN_OR_RETURN(datasheet.memory_bandwidth,
                        section.Quantity("memory_bandwidth", Unit::kBytesPerSecond, true, -1));
  ALPA_ASSIGN_OR_RETURN(datasheet.memory_efficiency, section.Number("memory_efficiency", 1e-6, 1, 0.85));
  ALPA_ASSIGN_OR_RETURN(datasheet.kernel_seconds, section.Quantity("kernel_overhead", Unit::kSeconds, false, -1));
  ALPA_ASSIGN_OR_RETURN(datasheet.program_seconds, section.Quantity("program_overhead", Unit::kSeconds, false, 0));
  return ProfileOf(datasheet);
}

absl::StatusOr<DeviceProfile> ReadMeasuredDevice(const Section& section, const std::string& name) {
  DeviceProfile profile;
  profile.name = name;
  ALPA_ASSIGN_OR_RETURN(profile.products, ReadProducts(section, "products"));
  ALPA_ASSIGN_OR_RETURN(profile.half_products, ReadProducts(section, "half_products"));
  ALPA_ASSIGN_OR_RETURN(profile.memory, ReadCurve(section, "memory_curve"));
  for (const auto& [key, seconds] : std::initializer_list<std::pair<const char*, double*>>{
           {"element_seconds", &profile.element_seconds},
           {"division_seconds", &profile.division_seconds},
           {"transcendental_seconds", &profile.transcendental_seconds},
           {"reduced_seconds", &profile.reduced_seconds},
           {"run_seconds", &profile.run_seconds},
           {"slow_element_seconds", &profile.slow_element_seconds},
           {"kernel_overhead", &profile.kernel_seconds},
           {"program_overhead", &profile.program_seconds}}) {
    ALPA_ASSIGN_OR_RETURN(*seconds, section.Quantity(key, Unit::kSeconds, false, -1));
  }
  if (absl::Status sound = Check(profile); !sound.ok()) return section.Error("products", sound.message());
  return profile;
}

absl::StatusOr<DeviceProfile> ReadDeviceProfile(const Section& section, absl::string_view key) {
  ALPA_ASSIGN_OR_RETURN(const std::string name, section.Text("name", key));
  if (!section.Has("products")) {
    ALPA_RETURN_IF_ERROR(section.CheckKeys({"name", "kind", "memory", "float32", "float16", "elements", "efficiency",
                                            "float16_efficiency", "memory_bandwidth", "memory_efficiency",
                                            "kernel_overhead", "program_overhead", "products"}));
    return ReadDatasheetDevice(section, name);
  }
  ALPA_RETURN_IF_ERROR(
      section.CheckKeys({"name", "kind", "memory", "products", "half_products", "memory_curve", "element_seconds",
                         "division_seconds", "transcendental_seconds", "reduced_seconds", "run_seconds",
                         "slow_element_seconds", "kernel_overhead", "program_overhead"}));
  return ReadMeasuredDevice(section, name);
}

absl::StatusOr<LinkProfile> ReadLink(const Section& section, absl::string_view key) {
  LinkProfile link;
  ALPA_ASSIGN_OR_RETURN(link.name, section.Text("name", key));
  ALPA_ASSIGN_OR_RETURN(link.seconds_per_member, section.Quantity("member_latency", Unit::kSeconds, false, 0));
  if (!section.Has("message")) {
    ALPA_RETURN_IF_ERROR(section.CheckKeys({"name", "bandwidth", "latency", "member_latency", "message"}));
    ALPA_ASSIGN_OR_RETURN(const double bandwidth, section.Quantity("bandwidth", Unit::kBytesPerSecond, true, -1));
    ALPA_ASSIGN_OR_RETURN(const double latency, section.Quantity("latency", Unit::kSeconds, false, -1));
    link.message = Curve::Line(latency, bandwidth);
    return link;
  }
  ALPA_RETURN_IF_ERROR(section.CheckKeys(
      {"name", "member_latency", "message", "all_reduce", "all_gather", "reduce_scatter", "all_to_all"}));
  for (const auto& [name, curve] :
       std::initializer_list<std::pair<const char*, Curve*>>{{"message", &link.message},
                                                             {"all_reduce", &link.all_reduce},
                                                             {"all_gather", &link.all_gather},
                                                             {"reduce_scatter", &link.reduce_scatter},
                                                             {"all_to_all", &link.all_to_all}}) {
    ALPA_ASSIGN_OR_RETURN(*curve, ReadCurve(section, name));
  }
  return link;
}

class Reader {
 public:
  explicit Reader(const toml::table& root) : root_(root, "") {}

  absl::StatusOr<Cluster> Read() {
    ALPA_RETURN_IF_ERROR(root_.CheckKeys({"device", "link", "host"}));
    ALPA_RETURN_IF_ERROR(
        ForEach("device", [&](const Section& section, const std::string& key) { return AddDeviceKind(section, key); }));
    ALPA_RETURN_IF_ERROR(ForEach("link", [&](const Section& section, const std::string& key) -> absl::Status {
      ALPA_ASSIGN_OR_RETURN(links_[key], ReadLink(section, key));
      return absl::OkStatus();
    }));
    ALPA_ASSIGN_OR_RETURN(const std::vector<const toml::table*> hosts, Tables(root_, "host"));
    if (hosts.empty()) return root_.Error("host", "missing; expected at least one [[host]]");
    for (size_t i = 0; i < hosts.size(); ++i) {
      const Section section(*hosts[i], hosts.size() == 1 ? "host" : absl::StrCat("host ", i + 1));
      ALPA_RETURN_IF_ERROR(AddHosts(section, hosts.size() > 1));
    }
    std::sort(cluster_.devices.begin(), cluster_.devices.end(),
              [](const Device& a, const Device& b) { return a.id < b.id; });
    ALPA_RETURN_IF_ERROR(Check(cluster_));
    return std::move(cluster_);
  }

 private:
  // Calls fn(section, KEY) for each table [name.KEY], in the order of the file.
  template <typename Fn>
  absl::Status ForEach(absl::string_view name, Fn fn) {
    const toml::node* node = root_.Get(name);
    if (node == nullptr) return root_.Error(name, absl::StrCat("missing; expected at least one [", name, ".KEY]"));
    if (!node->is_table()) return root_.Error(name, absl::StrCat("expected tables [", name, ".KEY]"));
    std::vector<std::pair<std::string, const toml::table*>> entries;
    for (const auto& [key, value] : *node->as_table()) {
      if (!value.is_table()) {
        return InvalidArgument("line %d: %s.%s: expected a table [%s.KEY]", value.source().begin.line, name,
                               Excerpt(std::string(key.str())), name);
      }
      entries.emplace_back(std::string(key.str()), value.as_table());
    }
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      const toml::source_position x = a.second->source().begin, y = b.second->source().begin;
      return std::pair(x.line, x.column) < std::pair(y.line, y.column);
    });
    for (const auto& [key, table] : entries) {
      const std::string section = absl::StrCat(name, ".", Excerpt(key));
      if (key.empty() || key.size() > 256)
        return InvalidArgument("line %d: %s: expected a key of 1 to 256 bytes", table->source().begin.line, section);
      ALPA_RETURN_IF_ERROR(fn(Section(*table, section), key));
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<std::vector<const toml::table*>> Tables(const Section& section, absl::string_view key) {
    std::vector<const toml::table*> tables;
    const toml::node* node = section.Get(key);
    if (node == nullptr) return tables;
    const toml::array* array = node->as_array();
    for (size_t i = 0; array != nullptr && i < array->size(); ++i) {
      if (const toml::table* table = (*array)[i].as_table()) tables.push_back(table);
    }
    if (array == nullptr || tables.size() != array->size()) {
      return section.Error(key, absl::StrCat("expected tables that begin with a line [[", key, "]]"));
    }
    return tables;
  }

  absl::Status AddDeviceKind(const Section& section, const std::string& key) {
    DeviceKind kind;
    ALPA_ASSIGN_OR_RETURN(DeviceProfile profile, ReadDeviceProfile(section, key));
    ALPA_ASSIGN_OR_RETURN(kind.kind, section.Text("kind", "cuda"));
    ALPA_ASSIGN_OR_RETURN(kind.memory, ReadMemory(section, -1));
    kind.profile = static_cast<int>(cluster_.profiles.size());
    cluster_.profiles.push_back(std::move(profile));
    kinds_[key] = kind;
    return absl::OkStatus();
  }

  // Returns the entry of `known` that the value of `key` names. An error lists the known names.
  template <typename T>
  absl::StatusOr<const T*> Named(const std::map<std::string, T>& known, const Section& section, absl::string_view key) {
    ALPA_ASSIGN_OR_RETURN(const std::string name, section.Text(key, ""));
    if (const auto found = known.find(name); found != known.end()) return &found->second;
    std::vector<std::string> names;
    for (const auto& [known_name, value] : known) names.push_back(known_name);
    const std::string allowed = Excerpt(absl::StrJoin(names, ", "));
    if (!section.Has(key)) return section.Error(key, absl::StrCat("missing; expected one of ", allowed));
    return section.Error(key, absl::StrCat("\"", Excerpt(name), "\" is not described; expected one of ", allowed));
  }

  absl::Status ReadLinks(const Section& section, bool several, Host& host) {
    const std::pair<const char*, LinkProfile*> links[] = {
        {"inside", &host.inside}, {"between", &host.between}, {"outside", &host.outside}};
    const LinkProfile* last = nullptr;
    for (const auto& [key, link] : links) {
      if (!section.Has(key)) continue;
      ALPA_ASSIGN_OR_RETURN(const LinkProfile* named, Named(links_, section, key));
      *link = *named;
      last = last == nullptr ? named : last;
    }
    if (last == nullptr) return Named(links_, section, "inside").status();
    if (several && !section.Has("outside")) return Named(links_, section, "outside").status();
    // If the host does not name its `inside` link, `inside` is the first link that the host names. If `between` is
    // missing, it is the same as `inside`. If `outside` is missing, it is the same as `between`.
    if (!section.Has("inside")) host.inside = *last;
    if (!section.Has("between")) host.between = host.inside;
    if (!section.Has("outside")) host.outside = host.between;
    return absl::OkStatus();
  }

  absl::Status AddHosts(const Section& section, bool several) {
    ALPA_RETURN_IF_ERROR(
        section.CheckKeys({"name", "count", "inside", "between", "outside", "outside_messages", "cores",
                           "memory_streams", "node", "device", "devices", "device_cores", "ids"}));
    Host host;
    ALPA_ASSIGN_OR_RETURN(const int64_t count, section.Integer("count", 1, kMaxInventoryDevices, 1));
    several = several || count > 1;
    ALPA_ASSIGN_OR_RETURN(host.name, section.Text("name", absl::StrCat("host-", cluster_.hosts.size())));
    ALPA_ASSIGN_OR_RETURN(host.cores, section.Number("cores", 0, kMaxCores, 0));
    ALPA_ASSIGN_OR_RETURN(host.memory_streams, section.Number("memory_streams", 0, kMaxCores, 0));
    ALPA_ASSIGN_OR_RETURN(const int64_t messages, section.Integer("outside_messages", 1, 1'000'000, 1));
    host.outside_messages = static_cast<int>(messages);
    ALPA_RETURN_IF_ERROR(ReadLinks(section, several, host));
    ALPA_ASSIGN_OR_RETURN(const std::vector<const toml::table*> nodes, Tables(section, "node"));
    if (!nodes.empty() &&
        (section.Has("device") || section.Has("devices") || section.Has("device_cores") || section.Has("ids"))) {
      return section.Error(
          "node", "a host with [[host.node]] tables cannot have device, devices, device_cores or ids itself");
    }
    const std::string name = host.name;
    for (int64_t i = 0; i < count; ++i) {
      const std::string suffix = count > 1 ? absl::StrCat("-", i) : "";
      host.name = name + suffix;
      cluster_.hosts.push_back(host);
      if (nodes.empty()) ALPA_RETURN_IF_ERROR(AddNode(section, host.name, count > 1));
      for (size_t n = 0; n < nodes.size(); ++n) {
        const Section node(*nodes[n], absl::StrCat(section.name(), ".node ", n + 1));
        ALPA_RETURN_IF_ERROR(
            node.CheckKeys({"name", "device", "devices", "device_cores", "ids", "kind", "memory", "local_indices"}));
        ALPA_ASSIGN_OR_RETURN(const std::string node_name, node.Text("name", absl::StrCat(name, "-node-", n)));
        ALPA_RETURN_IF_ERROR(AddNode(node, node_name + suffix, count > 1));
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddNode(const Section& section, const std::string& name, bool repeated) {
    ALPA_ASSIGN_OR_RETURN(const DeviceKind* kind, Named(kinds_, section, "device"));
    ALPA_ASSIGN_OR_RETURN(const int64_t devices, section.Integer("devices", 1, kMaxInventoryDevices, 1));
    if (static_cast<int64_t>(cluster_.devices.size()) + devices > kMaxInventoryDevices) {
      return section.Error("devices", absl::StrFormat("the file has more than %d devices", kMaxInventoryDevices));
    }
    Device device;
    device.node = name;
    device.profile = kind->profile;
    device.host = static_cast<int>(cluster_.hosts.size()) - 1;
    // Only [[host.node]] allows `kind` and `memory`, for a worker that differs from its kind of device.
    ALPA_ASSIGN_OR_RETURN(device.kind, section.Text("kind", kind->kind));
    ALPA_ASSIGN_OR_RETURN(device.memory, ReadMemory(section, static_cast<double>(kind->memory)));
    ALPA_ASSIGN_OR_RETURN(device.cores, section.Number("device_cores", 0, kMaxCores, 0));
    ALPA_ASSIGN_OR_RETURN(const std::vector<int64_t> ids, section.Integers("ids", 0, INT32_MAX));
    ALPA_ASSIGN_OR_RETURN(const std::vector<int64_t> indices, section.Integers("local_indices", 0, INT32_MAX));
    for (const auto& [key, list] : {std::pair("ids", &ids), std::pair("local_indices", &indices)}) {
      if (section.Has(key) && static_cast<int64_t>(list->size()) != devices) {
        return section.Error(
            key, absl::StrFormat("expected one entry for each of the %d devices, got %d", devices, list->size()));
      }
    }
    if (!ids.empty() && repeated)
      return section.Error("ids", "not allowed if `count` is above 1; such hosts number their devices automatically");
    if (!cluster_.devices.empty() && numbered_ != !ids.empty()) {
      return section.Error("ids", "must be given for all devices of the file, or for none");
    }
    numbered_ = !ids.empty();
    int& next_index = next_index_[name];
    for (int64_t i = 0; i < devices; ++i) {
      device.id = DeviceId(static_cast<int32_t>(ids.empty() ? static_cast<int64_t>(cluster_.devices.size()) : ids[i]));
      device.local_index = indices.empty() ? next_index++ : static_cast<int>(indices[i]);
      cluster_.devices.push_back(device);
    }
    return absl::OkStatus();
  }

  const Section root_;
  Cluster cluster_;
  std::map<std::string, DeviceKind> kinds_;
  std::map<std::string, LinkProfile> links_;
  std::map<std::string, int> next_index_;  // key: the node
  bool numbered_ = false;                  // whether the file gives the ids of its devices
};

absl::Status CheckText(absl::string_view text) {
  if (text.size() > kMaxInventoryBytes) {
    return InvalidArgument("the inventory has %d bytes; at most %d are allowed", text.size(), kMaxInventoryBytes);
  }
  int line = 1, dots = 0;
  for (char c : text) {
    if (c == '.') {
      if (++dots > kMaxDots) return InvalidArgument("line %d: a key has more than %d dots", line, kMaxDots);
    } else if (c == '\n' || c == ',' || c == '=' || c == '[' || c == '{') {
      dots = 0;
      line += c == '\n';
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Cluster> ReadInventory(absl::string_view text) {
  ALPA_RETURN_IF_ERROR(CheckText(text));
  toml::table table;
  try {
    table = toml::parse(std::string_view(text.data(), text.size()));
  } catch (const toml::parse_error& e) {
    return InvalidArgument("line %d: %s", e.source().begin.line, Excerpt(std::string(e.description())));
  } catch (const std::exception& e) {
    return InvalidArgument("the inventory cannot be read: %s", e.what());
  }
  return Reader(table).Read();
}

}  // namespace alpa::cluster
