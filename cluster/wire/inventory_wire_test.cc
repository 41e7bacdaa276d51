#include "cluster/wire/inventory_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/inventory.pb.h"

namespace alpa::cluster {
namespace {

NodeFacts Facts() {
  NodeFacts facts;
  facts.host_key = "key";
  facts.host_name = "machine";
  facts.cpus = {0, 2, 3};
  facts.cores = 2.5;
  facts.device_cores = 1;
  facts.outside_messages = 2;
  facts.profile.measured = true;
  facts.profile.memory_streams = 1.25;
  DeviceProfile& device = facts.profile.device;
  device.name = "cpu, 1 thread";
  device.products = {{16, 32, 64, 1e-6}, {1, 2, 3, 1e-7}};
  device.half_products = {{4, 5, 6, 1e-5}};
  device.memory = {{{1, 2}, {3, 4}}};
  device.element_seconds = 1;
  device.transcendental_seconds = 2;
  device.slow_element_seconds = 3;
  device.kernel_seconds = 4;
  device.program_seconds = 5;
  device.division_seconds = 6;
  device.reduced_seconds = 7;
  device.run_seconds = 8;
  for (LinkProfile* link : {&facts.profile.inside, &facts.profile.between, &facts.profile.outside}) {
    link->name = "link";
    link->message = Curve::Line(1e-6, 1e9);
  }
  LinkProfile& link = facts.profile.between;
  link.all_reduce = {{{1, 1}}};
  link.all_gather = {{{1, 2}}};
  link.reduce_scatter = {{{1, 3}}};
  link.all_to_all = {{{1, 4}}};
  link.seconds_per_member = 0.5;
  return facts;
}

Cluster TwoNodes() {
  return Assemble(
      {{"a", "cpu", 100, {DeviceId(0), DeviceId(3)}, Facts()}, {"b", "cpu", 200, {DeviceId(2)}, std::nullopt}});
}

TEST(InventoryWire, RoundTripKeepsNodeFacts) {
  const auto facts = FromProto(ToProto(Facts()));
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(*facts, Facts());
}

TEST(InventoryWire, RoundTripKeepsClusters) {
  const proto::Inventory message = ToProto(TwoNodes());
  EXPECT_EQ(message.links_size(), 2) << "equal links are sent once";
  const auto cluster = FromProto(message);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(*cluster, TwoNodes());
}

TEST(InventoryWire, RefusesInvalidMessages) {
  EXPECT_FALSE(FromProto(proto::NodeFacts()).ok());
  proto::NodeFacts facts = ToProto(Facts());
  facts.mutable_device()->mutable_memory()->add_amounts(5);
  EXPECT_THAT(std::string(FromProto(facts).status().message()), ::testing::HasSubstr("3 amounts and 2 times"));
  proto::Inventory inventory = ToProto(TwoNodes());
  inventory.mutable_hosts(0)->set_between(2);
  EXPECT_FALSE(FromProto(inventory).ok());
  inventory = ToProto(TwoNodes());
  inventory.mutable_devices(0)->set_host(-2);
  EXPECT_FALSE(FromProto(inventory).ok());
  inventory = ToProto(TwoNodes());
  inventory.mutable_devices(0)->set_profile(1);
  EXPECT_FALSE(FromProto(inventory).ok());
}

}  // namespace
}  // namespace alpa::cluster
