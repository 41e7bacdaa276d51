#include "plan/plan_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "plan/serialize.h"
#include "proto/plan.pb.h"

namespace alpa::plan {
namespace {

using ::testing::HasSubstr;

Plan SomePlan() {
  Plan plan;
  plan.program_fingerprint = 0xfedcba9876543210;
  plan.meshes = {{{2}, {"data"}, {DeviceId(7), DeviceId(4)}}, {{}, {}, {DeviceId(9)}}};
  plan.batch_seeds = {{2, 0, 4}};
  plan.schedule = "1f1b";
  plan.stage_cuts = {17};
  for (int m = 0; m < 2; ++m) {
    StagePlan& stage = plan.stages.emplace_back();
    stage.mesh = MeshId(m);
    stage.input_shardings = {std::nullopt, Sharding{{{0}, {}}}};
  }
  plan.stages[0].axes = {{0, {{1, -1, CutRank::kStored}}, 8, true}};
  plan.stages[0].axes[0].pins = {{1, 7, AxisState::Split(1, 4), {AxisState::Split(2), AxisState::Replicated()}},
                                 {0, 9, AxisState::Partial(graph::ReduceKind::kMax), {}}};
  return plan;
}

TEST(PlanFileTest, ParsesTheTextThatItWrites) {
  proto::Plan message;
  ToProto(SomePlan(), &message);
  const std::string text = PlanFileText(message);
  EXPECT_THAT(text, HasSubstr("\"stage_cuts\"")) << "field names must be those of plan.proto";
  EXPECT_EQ(text.back(), '\n');
  const auto read = ParsePlanFile(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), message.SerializeAsString());
  EXPECT_EQ(DeviceCount(*read), 3);
}

TEST(PlanFileTest, RoundTripKeepsValuePins) {
  proto::Plan message;
  ToProto(SomePlan(), &message);
  const auto read = ParsePlanFile(PlanFileText(message));
  ASSERT_TRUE(read.ok()) << read.status();
  const auto plan = FromProto(*read);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages[0].axes, SomePlan().stages[0].axes);
  Plan other = SomePlan();
  other.stages[0].axes[0].pins[0].operands[0].dim = 3;
  EXPECT_NE(Fingerprint(other), Fingerprint(SomePlan()));
  for (const auto& damage : std::vector<std::function<void(proto::ValuePin&)>>{
           [](proto::ValuePin& pin) { pin.mutable_state()->set_kind(static_cast<proto::AxisState::Kind>(9)); },
           [](proto::ValuePin& pin) {
             *pin.mutable_state() = {}, pin.mutable_state()->set_kind(proto::AxisState::PARTIAL),
             pin.mutable_state()->set_reduce(77);
           },
           [](proto::ValuePin& pin) { pin.mutable_operands(0)->set_kind(static_cast<proto::AxisState::Kind>(-1)); }}) {
    proto::Plan broken = message;
    damage(*broken.mutable_stages(0)->mutable_axes(0)->mutable_pins(0));
    EXPECT_EQ(FromProto(broken).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

// Plan files that are older than value pins have no `pins` field.
TEST(PlanFileTest, ReadsFilesWithoutValuePins) {
  const auto read = ParsePlanFile(
      R"({"version": 1, "meshes": [{"shape": [2], "axis_names": ["tensor"], "devices": [0, 1]}],
      "stages": [{"mesh": 0, "data_axis": -1,
                  "axes": [{"mesh_axis": 0, "cuts": [{"leaf": 1, "dim": 1, "rank": "PINNED"}]}]}]})");
  ASSERT_TRUE(read.ok()) << read.status();
  const auto plan = FromProto(*read);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->stages[0].axes[0], (AxisCut{0, {{1, 1, CutRank::kPinned}}, 0, false, {}, {}}));
}

TEST(PlanFileTest, OnDevicesRestoresANumberedPlan) {
  const Plan numbered = Numbered(SomePlan());
  EXPECT_EQ(numbered.meshes[0].devices, (std::vector<DeviceId>{DeviceId(0), DeviceId(1)}));
  EXPECT_EQ(numbered.meshes[1].devices, (std::vector<DeviceId>{DeviceId(2)}));
  const Plan back = OnDevices(numbered, {DeviceId(7), DeviceId(4), DeviceId(9)});
  EXPECT_EQ(Fingerprint(back), Fingerprint(SomePlan()));
}

TEST(PlanFileTest, RefusesTextThatIsNotAPlan) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("{}"), std::string("{\"stages\": 7}"),
        std::string("{\"stage\": []}"), std::string("{\"microbatches\": \"many\"}"), std::string(100'000, '[')}) {
    const auto read = ParsePlanFile(text);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 40);
    EXPECT_THAT(std::string(read.status().message()), HasSubstr("not a plan"));
    EXPECT_LT(read.status().message().size(), 1000u);
  }
}

}  // namespace
}  // namespace alpa::plan
