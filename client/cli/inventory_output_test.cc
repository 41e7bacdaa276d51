#include "client/cli/inventory_output.h"

#include <gtest/gtest.h>

#include "cluster/node.h"

namespace alpa::client {
namespace {

cluster::Cluster OneHost() {
  cluster::NodeFacts facts;
  facts.host_key = facts.host_name = "box";
  facts.cores = 2;
  facts.profile.device.name = "cpu\x1b, 1 thread";
  facts.profile.device.products = {{16, 16, 16, 1e-6}, {100, 100, 100, 2e-5}};
  facts.profile.device.memory = {{{1e3, 1e-7}, {1e8, 1e-2}}};
  facts.profile.inside = {.name = "in one process",
                          .message = {{{64, 2e-6}, {1e6, 1e-4}}},
                          .all_reduce = {},
                          .all_gather = {},
                          .reduce_scatter = {},
                          .all_to_all = {}};
  facts.profile.between = facts.profile.outside = facts.profile.inside;
  return cluster::Assemble({{"w", "cpu", 0, {DeviceId(0), DeviceId(1), DeviceId(3)}, facts}});
}

TEST(InventoryOutputTest, PrintsPeakRatesOfDevicesAndLinks) {
  EXPECT_EQ(InventoryText(OneHost()),
            "HOST  CORES  DEVICES  FLOAT32      FLOAT16  MEMORY   DEVICE PROFILE\n"
            "box   2      0-1, 3   100 GFLOP/s  -        10 GB/s  cpu , 1 thread\n"
            "\n"
            "HOST  BETWEEN               LATENCY  BANDWIDTH  LINK\n"
            "box   devices of a worker   2 us     10 GB/s    in one process\n"
            "box   workers of the host   2 us     10 GB/s    in one process\n"
            "box   this and other hosts  2 us     10 GB/s    in one process\n");
}

TEST(InventoryOutputTest, PrintsNothingIfNoHostIsKnown) {
  EXPECT_EQ(InventoryText(cluster::Assemble({{"w", "cpu", 0, {DeviceId(0)}, std::nullopt}})), "");
}

}  // namespace
}  // namespace alpa::client
