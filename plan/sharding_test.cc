#include <gtest/gtest.h>

#include <random>
#include <set>

#include "plan/reshard.h"
#include "plan/sharding.h"

namespace alpa::plan {
namespace {

cluster::Mesh MakeMesh(std::vector<int64_t> shape, int first_device = 0) {
  cluster::Mesh mesh;
  mesh.shape = std::move(shape);
  int64_t size = 1;
  for (size_t a = 0; a < mesh.shape.size(); ++a) {
    mesh.axis_names.push_back(std::string(1, static_cast<char>('a' + a)));
    size *= mesh.shape[a];
  }
  for (int64_t i = 0; i < size; ++i) mesh.devices.push_back(DeviceId(first_device + static_cast<int>(i)));
  return mesh;
}

TEST(MeshTest, PositionsInAGroupDifferOnlyAlongTheGivenAxes) {
  const cluster::Mesh mesh = MakeMesh({2, 3});
  EXPECT_EQ(mesh.Groups({0}), (std::vector<std::vector<int64_t>>{{0, 3}, {1, 4}, {2, 5}}));
  EXPECT_EQ(mesh.Groups({1}), (std::vector<std::vector<int64_t>>{{0, 1, 2}, {3, 4, 5}}));
  EXPECT_EQ(mesh.Groups({1, 0}), (std::vector<std::vector<int64_t>>{{0, 3, 1, 4, 2, 5}}));
}

TEST(MeshTest, CheckRefusesRepeatedDevicesAndWrongSizes) {
  cluster::Mesh mesh = MakeMesh({2, 2});
  EXPECT_TRUE(Check(mesh).ok());
  mesh.devices[3] = mesh.devices[0];
  EXPECT_FALSE(Check(mesh).ok());
  mesh = MakeMesh({2, 2});
  mesh.shape = {2, 3};
  EXPECT_FALSE(Check(mesh).ok());
  mesh.shape = {int64_t{1} << 62, 4};
  EXPECT_FALSE(Check(mesh).ok());
}

TEST(ShardingTest, LastTileIsShort) {
  const cluster::Mesh mesh = MakeMesh({4});
  const Sharding sharding = Sharding::Split(1, 0);
  EXPECT_EQ(TileDims({3, 10}, sharding, mesh), (std::vector<int64_t>{3, 3}));
  EXPECT_EQ(TileOf({3, 10}, sharding, mesh, 3), (Region{{0, 9}, {3, 1}}));
  EXPECT_EQ(TileOf({3, 5}, sharding, mesh, 3).elements(), 0);
  EXPECT_EQ(sharding.ToString(mesh), "[*, a]");
}

TEST(ShardingTest, TwoAxesOnOneDimensionNest) {
  const cluster::Mesh mesh = MakeMesh({2, 2});
  Sharding sharding;
  sharding.dim_axes = {{1, 0}};
  EXPECT_EQ(TileOf({8}, sharding, mesh, 1).start[0], 4);   // coordinates (0, 1)
  EXPECT_EQ(TileOf({8}, sharding, mesh, 2).start[0], 2);   // coordinates (1, 0)
}

TEST(ShardingTest, VerifyRefusesWrongAxes) {
  const cluster::Mesh mesh = MakeMesh({2});
  EXPECT_FALSE(Verify(Sharding::Split(0, 1), {4}, mesh).ok());
  EXPECT_FALSE(Verify(Sharding::Split(2, 0), {4}, mesh).ok());
  Sharding twice;
  twice.dim_axes = {{0}, {0}};
  EXPECT_FALSE(Verify(twice, {4, 4}, mesh).ok());
}

// Reshards between two random placements. Every destination element must be written once, from a device that holds it.
TEST(ReshardTest, FillsEveryTileOnceFromDevicesThatHoldIt) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 300; ++trial) {
    const int rank = static_cast<int>(random() % 3);
    std::vector<int64_t> dims;
    for (int d = 0; d < rank; ++d) dims.push_back(1 + random() % 7);
    const std::vector<cluster::Mesh> meshes = {MakeMesh({2, 2}), MakeMesh({3}, random() % 2 ? 0 : 4)};
    auto placement = [&](int mesh) {
      Sharding sharding;
      std::vector<int64_t> axes;
      for (size_t a = 0; a < meshes[mesh].shape.size(); ++a) axes.push_back(static_cast<int64_t>(a));
      for (int d = 0; d < rank; ++d) {
        sharding.dim_axes.emplace_back();
        if (!axes.empty() && random() % 2) {
          sharding.dim_axes.back().push_back(axes.back());
          axes.pop_back();
        }
      }
      return LeafPlacement{"leaf", {graph::DType::kF32, dims},
                           {{{std::vector<int64_t>(rank, 0), dims}, MeshId(mesh), sharding}}};
    };
    const auto source = Tiles(placement(static_cast<int>(random() % 2)), meshes);
    const auto destination = Tiles(placement(static_cast<int>(random() % 2)), meshes);
    const std::vector<Transfer> transfers = Reshard(source, destination, 4);
    auto inside = [](const Region& inner, const Region& outer) {
      for (size_t d = 0; d < inner.start.size(); ++d) {
        if (inner.start[d] < outer.start[d] || inner.start[d] + inner.size[d] > outer.start[d] + outer.size[d])
          return false;
      }
      return true;
    };
    for (const DeviceTile& target : destination) {
      int64_t elements = 0;
      std::vector<Region> pieces;
      for (const Transfer& transfer : transfers) {
        if (transfer.destination != target.device || !inside(transfer.region, target.region)) continue;
        elements += transfer.region.elements();
        pieces.push_back(transfer.region);
        EXPECT_TRUE(std::any_of(source.begin(), source.end(), [&](const DeviceTile& tile) {
          return tile.device == transfer.source && inside(transfer.region, tile.region);
        }));
        const bool local = std::any_of(source.begin(), source.end(), [&](const DeviceTile& tile) {
          return tile.device == target.device && inside(transfer.region, tile.region);
        });
        EXPECT_TRUE(!local || transfer.source == target.device) << "the destination already held this region";
      }
      EXPECT_EQ(elements, target.region.elements());
      for (size_t a = 0; a < pieces.size(); ++a) {
        for (size_t b = a + 1; b < pieces.size(); ++b) {
          bool overlap = true;
          for (size_t d = 0; d < pieces[a].start.size(); ++d) {
            overlap = overlap && pieces[a].start[d] < pieces[b].start[d] + pieces[b].size[d] &&
                      pieces[b].start[d] < pieces[a].start[d] + pieces[a].size[d];
          }
          EXPECT_FALSE(overlap);
        }
      }
    }
  }
}

TEST(ReshardTest, SpreadsTransfersOverReplicas) {
  const std::vector<cluster::Mesh> meshes = {MakeMesh({2}), MakeMesh({2}, 2)};
  const LeafPlacement from{"leaf", {graph::DType::kF32, {8}}, {{{{0}, {8}}, MeshId(0), Sharding::Replicated()}}};
  const LeafPlacement to{"leaf", {graph::DType::kF32, {8}}, {{{{0}, {8}}, MeshId(1), Sharding::Split(0, 0)}}};
  const auto transfers = Reshard(Tiles(from, meshes), Tiles(to, meshes), 4);
  ASSERT_EQ(transfers.size(), 2u);
  EXPECT_NE(transfers[0].source, transfers[1].source);
}

}  // namespace
}  // namespace alpa::plan
