#include "cluster/toml/inventory_toml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace alpa::cluster {
namespace {

using ::testing::HasSubstr;

constexpr absl::string_view kPair = R"(
[device.gpu]
memory = "40 GB"
float32 = "20 TFLOP/s"
float16 = "300 TFLOP/s"
efficiency = 0.5
memory_bandwidth = "1 TB/s"
memory_efficiency = 1
kernel_overhead = "5 us"

[link.wire]
bandwidth = "10 GB/s"
latency = "2 us"

[[host]]
name = "box"
count = 2
device = "gpu"
devices = 2
inside = "wire"
outside = "wire"
)";

std::string FileText(const std::filesystem::path& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in) << path;
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

const ProductPoint& Point(const std::vector<ProductPoint>& points, int64_t size) {
  for (const ProductPoint& p : points) {
    if (p.m == size && p.n == size && p.k == size) return p;
  }
  ADD_FAILURE() << "no product of size " << size;
  return points.front();
}

TEST(ReadInventory, DerivesProfilesFromDataSheetValues) {
  const auto cluster = ReadInventory(kPair);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_EQ(cluster->devices.size(), 4u);
  ASSERT_EQ(cluster->hosts.size(), 2u);
  EXPECT_TRUE(cluster->IsMeasured());
  EXPECT_EQ(cluster->hosts[1].name, "box-1");
  const Device& last = cluster->devices[3];
  EXPECT_EQ(last.id, DeviceId(3));
  EXPECT_EQ(last.node, "box-1");
  EXPECT_EQ(last.local_index, 1);
  EXPECT_EQ(last.kind, "cuda");
  EXPECT_EQ(last.memory, 40'000'000'000);
  ASSERT_EQ(cluster->profiles.size(), 1u);
  const DeviceProfile& gpu = cluster->profiles[0];
  EXPECT_EQ(gpu.name, "gpu");
  // 2 * 2048^3 operations at half the peak rate.
  EXPECT_NEAR(Point(gpu.products, 2048).seconds, 2.0 * 2048 * 2048 * 2048 / 10e12, 1e-9);
  EXPECT_NEAR(Point(gpu.half_products, 2048).seconds, 2.0 * 2048 * 2048 * 2048 / 150e12, 1e-9);
  EXPECT_NEAR(gpu.memory.Seconds(1e9), 1e-3, 1e-6);
  EXPECT_DOUBLE_EQ(gpu.kernel_seconds, 5e-6);
  const LinkProfile& wire = cluster->LinkOf(DeviceId(0), DeviceId(3));
  EXPECT_EQ(wire.name, "wire");
  EXPECT_NEAR(wire.message.Seconds(1e9), 0.1, 1e-3);
}

TEST(ReadInventory, DerivedTimesOfThinProductsAreMemoryBound) {
  const auto cluster = ReadInventory(kPair);
  ASSERT_TRUE(cluster.ok());
  for (const ProductPoint& p : cluster->profiles[0].products) {
    if (p.m == 1 && p.n == 8192 && p.k == 8192) {
      EXPECT_NEAR(p.seconds, 4.0 * 8192 * 8192 / 1e12, 1e-6);
    }
  }
}

TEST(ReadInventory, ReadsAllExampleClusters) {
  int read = 0;
  for (const auto& entry : std::filesystem::directory_iterator("examples/clusters")) {
    if (entry.path().extension() != ".toml") continue;
    const auto cluster = ReadInventory(FileText(entry.path()));
    ASSERT_TRUE(cluster.ok()) << entry.path() << ": " << cluster.status();
    const auto text = WriteInventory(*cluster);
    ASSERT_TRUE(text.ok()) << entry.path() << ": " << text.status();
    const auto again = ReadInventory(*text);
    ASSERT_TRUE(again.ok()) << entry.path() << ": " << again.status();
    EXPECT_EQ(*again, *cluster) << entry.path();
    ++read;
  }
  EXPECT_GE(read, 6);
}

TEST(ReadInventory, ReadsTheExampleInTheDocument) {
  const std::string document = FileText("docs/clusters.md");
  const size_t begin = document.find("```toml\n"), end = document.find("```", begin + 3);
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos);
  const auto cluster = ReadInventory(document.substr(begin + 8, end - begin - 8));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(cluster->devices.size(), 32u);
}

Cluster Measured() {
  Cluster cluster;
  for (const char* name : {"cpu, 1 thread", "cpu, \"2\" threads\n"}) {
    DeviceProfile& profile = cluster.profiles.emplace_back();
    profile.name = name;
    profile.products = {{16, 16, 16, 1.0 / 3e6}, {1024, 1, 16, 2.5e-5}};
    profile.half_products = {{64, 64, 64, 1e-5}};
    profile.memory = {{{4096, 1e-6 / 7}, {1 << 26, 0.01}}};
    profile.element_seconds = 1e-10;
    profile.division_seconds = 2.5e-10;
    profile.transcendental_seconds = 1.7e-9;
    profile.reduced_seconds = 4e-10;
    profile.run_seconds = 1.5e-9;
    profile.slow_element_seconds = 1e-7;
    profile.kernel_seconds = 3e-7;
  }
  cluster.profiles[1].half_products.clear();
  LinkProfile shared;
  shared.name = "shared memory";
  shared.message = {{{64, 1e-6}, {12345678901234567890.0, 1e9}}};
  shared.all_reduce = {{{64, 3e-6}, {1 << 20, 1e-3}}};
  shared.seconds_per_member = 1e-5 / 3;
  LinkProfile network = shared;
  network.name = "";
  network.all_to_all = Curve::Line(1e-5, 1e9);
  Host host{"machine", 2, 1.3, shared, shared, network, 1};
  cluster.hosts = {host, host};
  cluster.hosts[1].name = "other";
  cluster.hosts[1].cores = 0;
  const auto add = [&](int id, const char* node, int index, int host, int profile, Bytes memory) {
    cluster.devices.push_back({DeviceId(id), node, index, "cpu", memory, host, profile, profile + 1.0});
  };
  add(0, "a", 0, 0, 0, 1 << 30);
  add(2, "a", 2, 0, 0, 1 << 30);
  add(3, "b", 0, 0, 1, 1 << 30);
  add(7, "c", 0, 1, 0, 1 << 20);
  add(9, "a", 1, 0, 0, 0);
  return cluster;
}

TEST(WriteInventory, WritesTextThatReadsBackEqual) {
  const Cluster cluster = Measured();
  const auto text = WriteInventory(cluster);
  ASSERT_TRUE(text.ok()) << text.status();
  const auto again = ReadInventory(*text);
  ASSERT_TRUE(again.ok()) << again.status() << "\n" << *text;
  EXPECT_EQ(again->devices, cluster.devices) << *text;
  EXPECT_EQ(again->hosts, cluster.hosts) << *text;
  EXPECT_EQ(again->profiles, cluster.profiles) << *text;
}

TEST(WriteInventory, RefusesAClusterThatIsNotMeasured) {
  Cluster cluster = Measured();
  cluster.devices[0].profile = -1;
  EXPECT_EQ(WriteInventory(cluster).status().code(), absl::StatusCode::kFailedPrecondition);
  cluster = Measured();
  cluster.profiles[0].products.clear();
  EXPECT_FALSE(WriteInventory(cluster).ok());
  EXPECT_FALSE(WriteInventory(Cluster{}).ok());
  cluster = Measured();
  cluster.hosts.emplace_back();
  EXPECT_FALSE(WriteInventory(cluster).ok());
}

TEST(ReadInventory, ErrorsNameTheLineTheKeyAndTheProblem) {
  struct Row {
    const char* old_text;
    const char* new_text;
    std::vector<const char*> words;
  };
  const std::vector<Row> rows = {
      {"memory = \"40 GB\"", "memory = \"40 apples\"", {"line 3", "device.gpu.memory", "40 apples", "16 GiB"}},
      {"memory = \"40 GB\"", "", {"line 2", "device.gpu.memory", "missing"}},
      {"memory = \"40 GB\"", "memory = -1", {"line 3", "at least 0", "-1"}},
      {"memory = \"40 GB\"", "memory = 1e25", {"line 3", "at most"}},
      {"memory = \"40 GB\"", "memory = nan", {"line 3", "device.gpu.memory"}},
      {"memory = \"40 GB\"", "memory = [1]", {"line 3", "a list"}},
      {"float32 = \"20 TFLOP/s\"", "float32 = \"0 TFLOP/s\"", {"line 4", "more than 0"}},
      {"float32 =", "flaot32 =", {"line 4", "device.gpu.flaot32", "unknown key", "float32, float16"}},
      {"efficiency = 0.5", "efficiency = 50", {"line 6", "efficiency", "to 1", "50"}},
      {"efficiency = 0.5", "efficiency = [[1, 0.5], [1, 0.6]]", {"line 6", "increasing"}},
      {"efficiency = 0.5", "efficiency = []", {"line 6", "rows of size"}},
      {"efficiency = 0.5", "efficiency = [[1]]", {"line 6", "row 1", "expected 2 numbers"}},
      {"efficiency = 0.5", "products = [[1, 1, 1, 1e-6]]", {"line 4", "unknown key", "memory_curve"}},
      {"[device.gpu]", "[gpu]", {"line 2", "gpu", "unknown key", "device, link, host"}},
      {"[device.gpu]\n", "device = 3\n[link.other]\n", {"line 2", "device", "[device.KEY]"}},
      {"bandwidth = \"10 GB/s\"", "bandwidth = \"10 GB\"", {"line 12", "link.wire.bandwidth", "25 Gb/s"}},
      {"latency = \"2 us\"", "latency = true", {"line 13", "true"}},
      {"latency = \"2 us\"", "latency = \"2 us\"\nmessage = [[1, 1]]", {"unknown key", "all_reduce"}},
      {"[[host]]", "[host]", {"line 15", "host", "[[host]]"}},
      {"count = 2", "count = 2.5", {"line 17", "host.count", "whole number from 1", "2.5"}},
      {"count = 2", "count = 100001", {"line 17", "100000"}},
      {"devices = 2", "devices = 60000", {"line 19", "more than 100000 devices"}},
      {"devices = 2", "devices = 0", {"line 19", "from 1"}},
      {"device = \"gpu\"", "device = \"gpv\"", {"line 18", "\"gpv\" is not described", "gpu"}},
      {"device = \"gpu\"", "", {"host.device", "missing", "gpu"}},
      {"inside = \"wire\"", "inside = \"wine\"", {"line 20", "host.inside", "wine", "wire"}},
      {"outside = \"wire\"", "", {"host.outside", "missing"}},
      {"outside = \"wire\"", "outside = \"wire\"\nids = [0, 1]", {"line 22", "ids"}},
      {"outside = \"wire\"", "outside = \"wire\"\n[[host.node]]\ndevice = \"gpu\"", {"line 22", "host.node"}},
      {"outside = \"wire\"", "outside = \"wire\"\noutside_messages = 0", {"line 22", "outside_messages"}},
      {"count = 2", "count = 2\ncores = -3", {"line 18", "cores", "-3"}},
      {"[[host]]", "[[host]", {"line 15"}},
      {"[[host]]", "[[host]]\n\xff = 1", {"line", "utf-8"}},
  };
  for (const Row& row : rows) {
    const std::string text = absl::StrReplaceAll(kPair, {{row.old_text, row.new_text}});
    ASSERT_NE(text, kPair) << row.old_text;
    const auto cluster = ReadInventory(text);
    ASSERT_FALSE(cluster.ok()) << row.new_text;
    EXPECT_EQ(cluster.status().code(), absl::StatusCode::kInvalidArgument) << row.new_text;
    for (const char* word : row.words)
      EXPECT_THAT(std::string(cluster.status().message()), HasSubstr(word)) << row.new_text;
    EXPECT_LT(cluster.status().message().size(), 2000u);
  }
}

TEST(ReadInventory, RefusesBadMeasurements) {
  const auto good = WriteInventory(Measured());
  ASSERT_TRUE(good.ok());
  struct Row {
    const char* old_text;
    const char* new_text;
    const char* word;
  };
  for (const Row& row :
       {Row{"[16, 16, 16, ", "[16, 16, 0, ", "m, n, k"}, Row{"[16, 16, 16, ", "[16, 16.5, 16, ", "m, n, k"},
        Row{"[16, 16, 16, ", "[16, 16, 16, -", "product"}, Row{"[[64, 1e-06]", "[[64, -1e-06]", "link"},
        Row{"ids = [7]", "ids = [2]", "increasing order"}, Row{"ids = [7]", "ids = [-7]", "ids"},
        Row{"ids = [7]", "ids = [7, 8]", "one entry for each"}, Row{"ids = [7]", "", "for all devices"},
        Row{"name = \"c\"", "name = \"a\"", "two hosts"}, Row{"element_seconds = 1e-10\n", "\n", "element_seconds"}}) {
    const auto cluster = ReadInventory(absl::StrReplaceAll(*good, {{row.old_text, row.new_text}}));
    ASSERT_FALSE(cluster.ok()) << row.new_text;
    EXPECT_THAT(std::string(cluster.status().message()), HasSubstr(row.word)) << row.new_text;
  }
}

TEST(ReadInventory, RefusesHugeAndDeeplyNestedText) {
  EXPECT_FALSE(ReadInventory("").ok());
  EXPECT_FALSE(ReadInventory(std::string(20 << 20, 'a')).ok());
  EXPECT_FALSE(ReadInventory(std::string(1 << 20, '[')).ok());
  EXPECT_FALSE(ReadInventory("x = " + std::string(1 << 20, '[')).ok());
  EXPECT_FALSE(ReadInventory("x = \"" + std::string(1 << 20, 'a')).ok());
  std::string dots = "a", tables = "[a";
  for (int i = 0; i < 1'000'000; ++i) dots += ".a", tables += ".a";
  EXPECT_FALSE(ReadInventory(dots + " = 1").ok());
  EXPECT_FALSE(ReadInventory(tables + "]").ok());
  const auto unknown = ReadInventory(std::string(100'000, 'k') + " = 1");
  ASSERT_FALSE(unknown.ok());
  EXPECT_LT(unknown.status().message().size(), 2000u);
}

}  // namespace
}  // namespace alpa::cluster
