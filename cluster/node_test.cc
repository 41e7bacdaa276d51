#include "cluster/node.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace alpa::cluster {
namespace {

NodeFacts Facts(const std::string& key, std::vector<int32_t> cpus) {
  NodeFacts facts;
  facts.host_key = facts.host_name = key;
  facts.cpus = std::move(cpus);
  facts.cores = static_cast<double>(facts.cpus.size());
  facts.device_cores = 1;
  facts.profile.device.name = "cpu";
  facts.profile.device.products = {{16, 16, 16, 1e-6}};
  for (LinkProfile* link : {&facts.profile.inside, &facts.profile.between, &facts.profile.outside})
    link->message = Curve::Line(1e-6, 1e9);
  return facts;
}

Node MakeNode(const std::string& name, std::vector<int> devices, std::optional<NodeFacts> facts) {
  Node node{name, "cpu", 1 << 20, {}, std::move(facts)};
  for (int d : devices) node.devices.push_back(DeviceId(d));
  return node;
}

TEST(Assemble, WorkersOfAMachineShareItsHost) {
  const Cluster cluster =
      Assemble({MakeNode("a", {0, 1}, Facts("one", {0, 1})), MakeNode("b", {2}, Facts("one", {0, 1})),
                MakeNode("c", {3}, Facts("two", {0, 1}))});
  ASSERT_TRUE(Check(cluster).ok()) << Check(cluster);
  EXPECT_TRUE(cluster.IsMeasured());
  ASSERT_EQ(cluster.hosts.size(), 2u);
  EXPECT_EQ(cluster.hosts[0].cores, 2);
  EXPECT_EQ(cluster.profiles.size(), 1u) << "equal profiles must be stored once";
  EXPECT_EQ(cluster.devices[1].host, cluster.devices[2].host);
  EXPECT_NE(cluster.devices[2].host, cluster.devices[3].host);
  EXPECT_EQ(cluster.devices[1].local_index, 1);
  EXPECT_EQ(cluster.devices[3].cores, 1);
}

TEST(Assemble, WorkersWithoutCommonProcessorsAreOnSeparateHosts) {
  EXPECT_EQ(Assemble({MakeNode("a", {0}, Facts("one", {0, 1})), MakeNode("b", {1}, Facts("one", {2, 3}))}).hosts.size(),
            2u);
  // A third worker that shares processors with both joins them into one host.
  const Cluster joined = Assemble({MakeNode("a", {0}, Facts("one", {0, 1})), MakeNode("b", {1}, Facts("one", {2, 3})),
                                   MakeNode("c", {2}, Facts("one", {1, 2}))});
  ASSERT_EQ(joined.hosts.size(), 1u);
  EXPECT_EQ(joined.hosts[0].cores, 4);
}

TEST(Assemble, WorkersOnTheSameProcessorsShareOneQuota) {
  NodeFacts facts = Facts("one", {0, 1, 2, 3});
  facts.cores = 1.5;
  EXPECT_EQ(Assemble({MakeNode("a", {0}, facts), MakeNode("b", {1}, facts)}).hosts[0].cores, 1.5);
}

TEST(Assemble, PrefersAMeasurementToAnAssumption) {
  NodeFacts assumed = Facts("one", {0}), measured = Facts("one", {0});
  measured.profile.measured = true;
  measured.profile.between.name = "measured";
  EXPECT_EQ(Assemble({MakeNode("a", {0}, assumed), MakeNode("b", {1}, measured)}).hosts[0].between.name, "measured");
}

TEST(Assemble, AWorkerWithoutFactsMakesTheClusterUnmeasured) {
  const Cluster cluster = Assemble({MakeNode("a", {0}, Facts("one", {0})), MakeNode("b", {1}, std::nullopt)});
  ASSERT_TRUE(Check(cluster).ok()) << Check(cluster);
  EXPECT_FALSE(cluster.IsMeasured());
  EXPECT_TRUE(Only(cluster, {DeviceId(0)}).IsMeasured());
}

TEST(Only, KeepsTheDevicesWithTheirHostsAndProfiles) {
  NodeFacts other = Facts("two", {0});
  other.profile.device.name = "other";
  const Cluster cluster = Assemble({MakeNode("a", {4, 5}, Facts("one", {0})), MakeNode("b", {6, 7}, other)});
  const Cluster part = Only(cluster, {DeviceId(7), DeviceId(99)});
  ASSERT_TRUE(Check(part).ok()) << Check(part);
  ASSERT_EQ(part.devices.size(), 1u);
  EXPECT_EQ(part.devices[0].id, DeviceId(7));
  EXPECT_EQ(part.devices[0].local_index, 1);
  ASSERT_EQ(part.hosts.size(), 1u);
  EXPECT_EQ(part.hosts[0].name, "two");
  ASSERT_EQ(part.profiles.size(), 1u);
  EXPECT_EQ(part.profiles[0].name, "other");
  EXPECT_EQ(Only(cluster, {DeviceId(4), DeviceId(5), DeviceId(6), DeviceId(7)}), cluster);
}

TEST(NodeFacts, CheckRefusesValuesOutOfBounds) {
  struct Row {
    const char* name;
    std::function<void(NodeFacts&)> damage;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Row& row :
       std::vector<Row>{{"no key", [](NodeFacts& f) { f.host_key.clear(); }},
                        {"a long name", [](NodeFacts& f) { f.host_name.assign(1000, 'x'); }},
                        {"a repeated processor",
                         [](NodeFacts& f) {
                           f.cpus = {1, 1};
                         }},
                        {"a negative processor", [](NodeFacts& f) { f.cpus = {-1}; }},
                        {"too many processors",
                         [](NodeFacts& f) {
                           for (int i = 0; i < 100'000; ++i) f.cpus.push_back(10 + i);
                         }},
                        {"infinite cores", [](NodeFacts& f) { f.cores = std::numeric_limits<double>::infinity(); }},
                        {"cores that are not a number", [nan](NodeFacts& f) { f.device_cores = nan; }},
                        {"negative streams", [](NodeFacts& f) { f.profile.memory_streams = -1; }},
                        {"no outside message", [](NodeFacts& f) { f.outside_messages = 0; }},
                        {"no product", [](NodeFacts& f) { f.profile.device.products.clear(); }},
                        {"too many products",
                         [](NodeFacts& f) {
                           f.profile.device.half_products.assign(100'000, {1, 1, 1, 1});
                         }},
                        {"a long curve",
                         [](NodeFacts& f) {
                           for (int i = 1; i < 2000; ++i) f.profile.device.memory.points.push_back({1.0 * i, 1});
                         }},
                        {"no message curve", [](NodeFacts& f) { f.profile.between.message.points.clear(); }},
                        {"a negative time", [](NodeFacts& f) { f.profile.outside.message.points[0].seconds = -1; }}}) {
    NodeFacts facts = Facts("one", {0, 1});
    ASSERT_TRUE(Check(facts).ok()) << Check(facts);
    row.damage(facts);
    EXPECT_EQ(Check(facts).code(), absl::StatusCode::kInvalidArgument) << row.name;
  }
}

}  // namespace
}  // namespace alpa::cluster
