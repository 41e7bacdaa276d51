#include "plan/plan_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "base/reason.h"

namespace alpa::plan {
namespace {

using proto::PlanRequest;
using ::testing::HasSubstr;

TEST(PlanRequestTest, CountsTheDevicesThatThePinsNeed) {
  PlanRequest r;
  EXPECT_EQ(DevicesNeeded(r), 1);
  EXPECT_TRUE(TakesAllDevices(r));
  r.set_tensor_parallel(2);
  EXPECT_EQ(DevicesNeeded(r), 2);
  r.mutable_pipeline()->set_meshes(3);
  EXPECT_EQ(DevicesNeeded(r), 6);
  EXPECT_TRUE(TakesAllDevices(r));
  r.set_data_parallel(4);
  EXPECT_EQ(DevicesNeeded(r), 24);
  EXPECT_FALSE(TakesAllDevices(r));
  r.clear_data_parallel();
  r.set_devices(12);
  EXPECT_EQ(DevicesNeeded(r), 12);
  r.clear_devices();
  for (int n : {2, 6, 4}) r.mutable_pipeline()->add_devices(n);
  EXPECT_EQ(DevicesNeeded(r), 12);
  EXPECT_FALSE(TakesAllDevices(r));
  EXPECT_TRUE(Check(r).ok()) << Check(r);
}

TEST(PlanRequestTest, SearchIsOpenOnlyWithoutParallelismPins) {
  proto::PlanRequest open;
  open.set_devices(4);
  open.set_microbatches(2);
  EXPECT_TRUE(LeavesParallelismOpen(open));
  const auto pinned = [&](auto&& pin) {
    proto::PlanRequest request = open;
    pin(request);
    return !LeavesParallelismOpen(request);
  };
  EXPECT_TRUE(pinned([](proto::PlanRequest& r) { r.set_data_parallel(4); }));
  EXPECT_TRUE(pinned([](proto::PlanRequest& r) { r.set_tensor_parallel(2); }));
  EXPECT_TRUE(pinned([](proto::PlanRequest& r) { r.set_zero(3); }));
  EXPECT_TRUE(pinned([](proto::PlanRequest& r) { r.set_remat("layer"); }));
  EXPECT_TRUE(pinned([](proto::PlanRequest& r) { r.mutable_pipeline()->set_meshes(2); }));
  EXPECT_TRUE(pinned([](proto::PlanRequest& r) { r.mutable_given(); }));
}

TEST(PlanRequestTest, AGivenPlanRulesOutPins) {
  PlanRequest r;
  for (int i = 0; i < 3; ++i) r.mutable_given()->add_meshes()->add_devices(i);
  EXPECT_EQ(DevicesNeeded(r), 3);
  EXPECT_FALSE(TakesAllDevices(r));
  r.add_workers("w");
  r.set_devices(3);
  EXPECT_TRUE(Check(r).ok()) << Check(r);
  r.set_devices(4);
  EXPECT_EQ(ReasonOf(Check(r)), "NO_FEASIBLE_PLAN");
  r.clear_devices();
  r.set_microbatches(2);
  EXPECT_EQ(ReasonOf(Check(r)), "BAD_REQUEST");
  r.clear_microbatches();
  r.mutable_given()->clear_meshes();
  EXPECT_EQ(ReasonOf(Check(r)), "BAD_REQUEST");
}

TEST(PlanRequestTest, RefusesInvalidAndContradictoryRequests) {
  const struct {
    const char *reason, *says;
    std::function<void(PlanRequest&)> damage;
  } rows[] = {
      {"BAD_REQUEST", "negative", [](PlanRequest& r) { r.set_devices(-1); }},
      {"BAD_REQUEST", "at most 1048576 devices", [](PlanRequest& r) { r.set_tensor_parallel(1 << 21); }},
      {"BAD_REQUEST", "-2 meshes", [](PlanRequest& r) { r.mutable_pipeline()->set_meshes(-2); }},
      {"BAD_REQUEST", "-1 stages", [](PlanRequest& r) { r.mutable_pipeline()->set_stages_per_mesh(-1); }},
      {"BAD_REQUEST", "schedule \"2f2b\" is unknown",
       [](PlanRequest& r) { r.mutable_pipeline()->set_schedule("2f2b"); }},
      {"BAD_REQUEST", "remat \"all\" is unknown", [](PlanRequest& r) { r.set_remat("all"); }},
      {"BAD_REQUEST", "mesh of 0 devices", [](PlanRequest& r) { r.mutable_pipeline()->add_devices(0); }},
      {"BAD_REQUEST", "65 pipeline meshes",
       [](PlanRequest& r) {
         for (int i = 0; i < 65; ++i) r.mutable_pipeline()->add_devices(1);
       }},
      {"NO_FEASIBLE_PLAN", "at most 64 stages",
       [](PlanRequest& r) {
         r.mutable_pipeline()->set_meshes(1 << 30), r.mutable_pipeline()->set_stages_per_mesh(1 << 30);
       }},
      {"NO_FEASIBLE_PLAN", "no pipeline", [](PlanRequest& r) { r.mutable_pipeline()->set_stages_per_mesh(2); }},
      {"NO_FEASIBLE_PLAN", "devices are given for 1 pipeline meshes, but there are 2",
       [](PlanRequest& r) { r.mutable_pipeline()->set_meshes(2), r.mutable_pipeline()->add_devices(1); }},
      {"NO_FEASIBLE_PLAN", "1 + 3 devices contradict devices=5",
       [](PlanRequest& r) {
         r.mutable_pipeline()->set_meshes(2);
         r.set_devices(5);
         for (int n : {1, 3}) r.mutable_pipeline()->add_devices(n);
       }},
      {"NO_FEASIBLE_PLAN", "tensor_parallel=2 does not divide a pipeline mesh of 3",
       [](PlanRequest& r) {
         r.set_tensor_parallel(2);
         r.mutable_pipeline()->set_meshes(2);
         for (int n : {2, 3}) r.mutable_pipeline()->add_devices(n);
       }},
      {"NO_FEASIBLE_PLAN", "contradicts a pipeline mesh of 3",
       [](PlanRequest& r) {
         r.set_data_parallel(1);
         r.mutable_pipeline()->set_meshes(2);
         for (int n : {1, 3}) r.mutable_pipeline()->add_devices(n);
       }},
      {"NO_FEASIBLE_PLAN", "data_parallel=2 x 2 pipeline meshes contradicts devices=2",
       [](PlanRequest& r) { r.set_data_parallel(2), r.set_devices(2), r.mutable_pipeline()->set_meshes(2); }},
  };
  for (const auto& row : rows) {
    PlanRequest request;
    row.damage(request);
    const absl::Status status = Check(request);
    EXPECT_EQ(ReasonOf(status), row.reason) << row.says << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.says));
  }
}

}  // namespace
}  // namespace alpa::plan
