#include "client/lib/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace alpa::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A 2 x 2 mesh. Worker a has devices 0 and 1, and worker b has devices 2 and 3. The state f32[4,3] is split along the
// outer mesh axis. The aux output f32[] is replicated.
struct PlacementTest : ::testing::Test {
  PlacementTest() {
    proto.set_epoch(7);
    proto::Mesh* mesh = proto.add_meshes();
    for (int i : {2, 2}) mesh->add_shape(i);
    for (const char* name : {"data", "model"}) mesh->add_axis_names(name);
    for (int device : {0, 1, 2, 3}) mesh->add_devices(device);
    for (const char* name : {"a", "b"}) {
      proto::WorkerAddress* worker = proto.add_workers();
      worker->set_worker(name);
      worker->set_tensor_address(std::string(name) + ":1");
      for (int device : {0, 1}) worker->add_devices(device + (*name == 'b' ? 2 : 0));
    }
    Fill(proto.add_inputs(), "state", {4, 3})->mutable_sharding()->add_dims()->add_axes(0);
    proto.add_input_is_state(true);
    Fill(proto.add_outputs(), "aux", {});
  }
  static proto::RegionPlacement* Fill(proto::LeafPlacement* leaf, const std::string& path, std::vector<int64_t> dims) {
    leaf->set_path(path);
    leaf->mutable_shape()->set_dtype(static_cast<int32_t>(graph::DType::kF32));
    proto::RegionPlacement* region = leaf->add_regions();
    for (int64_t d : dims) {
      leaf->mutable_shape()->add_dims(d);
      region->mutable_region()->add_start(0);
      region->mutable_region()->add_size(d);
    }
    return region;
  }
  absl::StatusOr<Placement> Read() {
    return Placement::FromProto(proto, {{graph::DType::kF32, {4, 3}}}, {{graph::DType::kF32, {}}});
  }
  void Refuses(const char* says) {
    const auto read = Read();
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInternal);
    EXPECT_THAT(read.status().message(), HasSubstr(says));
  }

  proto::Placement proto;
};

TEST_F(PlacementTest, ListsTheWorkersOfEachPart) {
  const auto placement = Read();
  ASSERT_TRUE(placement.ok()) << placement.status();
  EXPECT_EQ(placement->epoch, 7u);
  EXPECT_EQ(placement->workers[1].address, "b:1");
  ASSERT_EQ(placement->inputs[0].parts.size(), 2u);
  EXPECT_THAT(placement->inputs[0].parts[0].region.size, ElementsAre(2, 3));
  // Two devices of this worker hold the part, but the worker is listed once.
  EXPECT_THAT(placement->inputs[0].parts[0].workers, ElementsAre(0));
  EXPECT_THAT(placement->inputs[0].parts[1].region.start, ElementsAre(2, 0));
  EXPECT_THAT(placement->inputs[0].parts[1].workers, ElementsAre(1));
  ASSERT_EQ(placement->outputs[0].parts.size(), 1u);
  EXPECT_THAT(placement->outputs[0].parts[0].workers, ElementsAre(0, 1));
}

TEST_F(PlacementTest, TilesMayBeShortOrEmpty) {
  // A dimension of size 3 on two devices has tiles of sizes 2 and 1. A dimension of size 1 has tiles of sizes 1 and 0.
  for (auto [size, parts] : {std::pair<int64_t, size_t>{3, 2}, {1, 1}}) {
    proto.clear_inputs();
    Fill(proto.add_inputs(), "state", {size})->mutable_sharding()->add_dims()->add_axes(0);
    const auto placement = Placement::FromProto(proto, {{graph::DType::kF32, {size}}}, {{graph::DType::kF32, {}}});
    ASSERT_TRUE(placement.ok()) << placement.status();
    EXPECT_EQ(placement->inputs[0].parts.size(), parts);
  }
}

TEST_F(PlacementTest, StateResultsHaveNoParts) {
  proto.mutable_outputs(0)->clear_regions();
  const auto placement = Read();
  ASSERT_TRUE(placement.ok()) << placement.status();
  EXPECT_TRUE(placement->outputs[0].parts.empty());
}

TEST_F(PlacementTest, RefusesContradictoryReplies) {
  const proto::Placement good = proto;
  const auto refuses = [&](const char* says, const std::function<void(proto::Placement&)>& damage) {
    SCOPED_TRACE(says);
    proto = good;
    damage(proto);
    Refuses(says);
  };
  refuses("0 inputs", [](proto::Placement& p) { p.clear_inputs(); });
  refuses("0 outputs", [](proto::Placement& p) { p.clear_outputs(); });
  refuses("but f32[4,3] in the job", [](proto::Placement& p) { p.mutable_inputs(0)->mutable_shape()->set_dims(0, 5); });
  refuses("unknown mesh", [](proto::Placement& p) { p.mutable_inputs(0)->mutable_regions(0)->set_mesh(1); });
  refuses("unknown mesh", [](proto::Placement& p) { p.mutable_inputs(0)->mutable_regions(0)->set_mesh(-1); });
  const auto region = [](proto::Placement& p) { return p.mutable_inputs(0)->mutable_regions(0)->mutable_region(); };
  refuses("lies outside", [&](proto::Placement& p) { region(p)->set_start(0, 1); });
  refuses("lies outside", [&](proto::Placement& p) { region(p)->set_start(0, INT64_MAX); });
  refuses("lies outside", [&](proto::Placement& p) { region(p)->set_start(0, -1); });
  refuses("not covered", [&](proto::Placement& p) { region(p)->set_size(0, 3); });
  refuses("which no worker has", [](proto::Placement& p) { p.mutable_workers(1)->clear_devices(); });
  refuses("not valid", [](proto::Placement& p) { p.mutable_meshes(0)->set_shape(0, 3); });
  refuses("not valid", [](proto::Placement& p) { p.mutable_meshes(0)->set_devices(1, 0); });
  refuses("not valid", [](proto::Placement& p) {
    p.mutable_inputs(0)->mutable_regions(0)->mutable_sharding()->mutable_dims(0)->set_axes(0, 2);
  });
}

}  // namespace
}  // namespace alpa::client
