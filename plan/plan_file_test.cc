#include "plan/plan_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  return plan;
}

TEST(PlanFileTest, WhatIsWrittenIsRead) {
  proto::Plan message;
  ToProto(SomePlan(), &message);
  const std::string text = PlanFileText(message);
  EXPECT_THAT(text, HasSubstr("\"stage_cuts\"")) << "names as in plan.proto";
  EXPECT_EQ(text.back(), '\n');
  const auto read = ParsePlanFile(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), message.SerializeAsString());
  EXPECT_EQ(DeviceCount(*read), 3);
}

TEST(PlanFileTest, DevicesAreNumberedWithinTheJob) {
  const Plan numbered = Numbered(SomePlan());
  EXPECT_EQ(numbered.meshes[0].devices, (std::vector<DeviceId>{DeviceId(0), DeviceId(1)}));
  EXPECT_EQ(numbered.meshes[1].devices, (std::vector<DeviceId>{DeviceId(2)}));
  const Plan back = OnDevices(numbered, {DeviceId(7), DeviceId(4), DeviceId(9)});
  EXPECT_EQ(Fingerprint(back), Fingerprint(SomePlan()));
}

TEST(PlanFileTest, WhatIsNoPlanIsRefused) {
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
