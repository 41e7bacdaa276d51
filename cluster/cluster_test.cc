#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "cluster/cluster.h"

namespace alpa::cluster {
namespace {

TEST(Curve, InterpolatesInLogarithmsAndGrowsProportionallyAtTheEnd) {
  const Curve curve{{{100, 1}, {10000, 100}}};
  EXPECT_DOUBLE_EQ(curve.Seconds(1), 1);
  EXPECT_NEAR(curve.Seconds(1000), 10, 1e-9);
  EXPECT_NEAR(curve.Seconds(20000), 200, 1e-9);
  EXPECT_EQ(Curve{}.Seconds(5), 0);
}

TEST(Curve, LineIsLatencyPlusAmountOverRate) {
  const Curve line = Curve::Line(1e-5, 1e9);
  for (double amount : {1.0, 3000.0, 1e6, 3e9}) {
    EXPECT_NEAR(line.Seconds(amount), 1e-5 + amount / 1e9, 0.03 * (1e-5 + amount / 1e9)) << amount;
  }
  EXPECT_TRUE(Check(line).ok());
}

TEST(Curve, CheckRefusesUnorderedAmountsAndInvalidTimes) {
  EXPECT_FALSE(Check(Curve{{{2, 1}, {1, 1}}}).ok());
  EXPECT_FALSE(Check(Curve{{{1, -1}}}).ok());
  EXPECT_FALSE(Check(Curve{{{1, std::numeric_limits<double>::quiet_NaN()}}}).ok());
}

TEST(Cluster, FindsTheLinkBetweenTwoDevices) {
  Cluster cluster;
  for (const char* name : {"one", "two"}) {
    Host& host = cluster.hosts.emplace_back();
    host.name = name;
    host.inside.name = "inside";
    host.between.name = "between";
    host.outside.name = name;
    host.outside.message = Curve::Line(1e-5, host.name == "one" ? 1e9 : 1e8);
  }
  for (int d = 0; d < 4; ++d) {
    Device& device = cluster.devices.emplace_back();
    device.id = DeviceId(d);
    device.node = d < 2 ? "a" : d == 2 ? "b" : "c";
    device.host = d < 3 ? 0 : 1;
  }
  EXPECT_FALSE(cluster.IsMeasured());
  EXPECT_EQ(cluster.LinkOf(DeviceId(0), DeviceId(1)).name, "inside");
  EXPECT_EQ(cluster.LinkOf(DeviceId(0), DeviceId(2)).name, "between");
  EXPECT_EQ(cluster.LinkOf(DeviceId(0), DeviceId(3)).name, "two");
  EXPECT_TRUE(Check(cluster).ok()) << Check(cluster);
  cluster.devices[1].host = 2;
  EXPECT_FALSE(Check(cluster).ok());
}

}  // namespace
}  // namespace alpa::cluster
