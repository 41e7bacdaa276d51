#include "coordinator/core/planning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/core/errors.h"
#include "graph/testing.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "plan/serialize.h"
#include "proto/plan.pb.h"

namespace alpa::coordinator {
namespace {

using ::testing::HasSubstr;

// Plans a training step of a small GPT with a batch of 2 examples (graph/testdata/make_testdata.py).
class PlanningTest : public ::testing::Test {
 protected:
  PlanningTest() {
    task_.job_id = "job";
    task_.epoch = 1;
    task_.devices = {DeviceId(4), DeviceId(7)};
    for (const char* path : {"emb", "k", "o", "pos", "q", "v", "key"}) {
      const int leaf = task_.roles.inputs_size();
      Add(proto::InputRole::STATE, path);
      proto::OutputRole* output = task_.roles.add_outputs();
      output->set_kind(proto::OutputRole::STATE);
      output->set_path(path);
      output->set_state_input(leaf);
    }
    Add(proto::InputRole::BATCH, "x");
    Add(proto::InputRole::BATCH, "y");
    proto::OutputRole* loss = task_.roles.add_outputs();
    loss->set_kind(proto::OutputRole::AUX);
    loss->set_path("loss");
  }
  void Add(proto::InputRole::Kind kind, const std::string& path) {
    task_.roles.add_inputs()->set_kind(kind);
    task_.roles.mutable_inputs(task_.roles.inputs_size() - 1)->set_path(path);
  }
  absl::Status Error() { return PlanProgram(task_, program_).status(); }

  PlanTask task_;
  std::string program_ = graph::testing::ReadTestdata("gpt_step.pb");
};

TEST_F(PlanningTest, AProgramBecomesAPlanAndAnExecutable) {
  task_.request.set_devices(1);
  ASSERT_TRUE(CheckProgram(task_, program_).ok());
  const auto planned = PlanProgram(task_, program_);
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->devices, std::vector<DeviceId>{DeviceId(4)});
  EXPECT_EQ(planned->loss_output, 7);
  EXPECT_EQ(planned->loss_shape.ToString(), "f32[]");
  EXPECT_EQ(planned->placement.inputs_size(), 9);
  EXPECT_EQ(planned->placement.outputs_size(), 8);
  EXPECT_THAT(planned->plan_text, HasSubstr("mesh"));
  EXPECT_EQ(planned->phase_seconds.size(), 3u);
  EXPECT_GT(planned->seconds, 0);
  proto::Executable message;
  ASSERT_TRUE(message.ParseFromString(planned->serialized_executable));
  const auto executable = plan::FromProto(message);
  ASSERT_TRUE(executable.ok()) << executable.status();
  EXPECT_TRUE(plan::Verify(*executable).ok());
  const auto plan = plan::FromProto(planned->plan);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(executable->plan_fingerprint, plan::Fingerprint(*plan));
}

TEST_F(PlanningTest, TheSameTaskGivesTheSameBytes) {
  task_.request.set_devices(1);
  const auto one = PlanProgram(task_, program_), two = PlanProgram(task_, program_);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->serialized_executable, two->serialized_executable);
  EXPECT_EQ(one->plan.SerializeAsString(), two->plan.SerializeAsString());
}

TEST_F(PlanningTest, PinnedDegreesAndSeedsAreKept) {
  task_.request.set_data_parallel(1);
  task_.request.set_microbatches(2);
  for (int leaf : {7, 8}) task_.request.add_batch_dims()->set_leaf(leaf);
  const auto planned = PlanProgram(task_, program_);
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->plan.microbatches(), 2);
  ASSERT_EQ(planned->plan.batch_seeds_size(), 2);
  EXPECT_EQ(planned->plan.batch_seeds(1).leaf(), 8);
}

TEST_F(PlanningTest, PinnedPipelinesAreKept) {
  task_.request.mutable_pipeline()->set_meshes(2);
  task_.request.mutable_pipeline()->set_schedule("gpipe");
  task_.request.set_microbatches(2);
  const auto planned = PlanProgram(task_, program_);
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->plan.stages_size(), 2);
  EXPECT_EQ(planned->plan.schedule(), "gpipe");
  EXPECT_EQ(planned->devices, (std::vector<DeviceId>{DeviceId(4), DeviceId(7)}));
}

cluster::Cluster TwoDevices() {
  cluster::Cluster cluster;
  cluster::DeviceProfile profile;
  profile.products = {{64, 64, 64, 1e-4}};
  profile.memory = cluster::Curve::Line(1e-6, 1e9);
  cluster.profiles = {profile};
  cluster::Host host;
  for (cluster::LinkProfile* link : {&host.inside, &host.between, &host.outside}) {
    link->message = cluster::Curve::Line(1e-5, 1e9);
  }
  cluster.hosts = {host};
  for (int id : {4, 7}) cluster.devices.push_back({DeviceId(id), "a", id == 7, "cpu", 0, 0, 0, 1});
  return cluster;
}

TEST_F(PlanningTest, OpenParallelismIsSearchedOnAMeasuredCluster) {
  task_.cluster = TwoDevices();
  task_.search_seconds = 60;
  std::vector<std::string> told;
  const auto planned = PlanProgram(task_, program_, [&](const std::string& text) {
    told.push_back(text);
    return true;
  });
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_THAT(planned->plan.origin(), HasSubstr("the best of"));
  EXPECT_GT(planned->plan.predicted_step_seconds(), 0);
  EXPECT_GT(planned->plan.predicted_peak_device_bytes(), 0);
  EXPECT_THAT(planned->plan_text, HasSubstr("compared with"));
  ASSERT_FALSE(planned->spans.empty());
  EXPECT_NEAR(planned->spans.back().end, planned->plan.predicted_step_seconds(), 1e-9);
  ASSERT_GT(told.size(), 3u);
  EXPECT_THAT(told.back(), HasSubstr("plans evaluated, the best"));
  // If the parallelism is pinned, there is nothing to search.
  task_.request.set_data_parallel(2);
  const auto pinned = PlanProgram(task_, program_);
  ASSERT_TRUE(pinned.ok()) << pinned.status();
  EXPECT_THAT(pinned->plan.origin(), HasSubstr("pinned"));
  EXPECT_GE(pinned->plan.predicted_step_seconds(), planned->plan.predicted_step_seconds());
}

TEST_F(PlanningTest, ASearchEndsWhenItsPlanIsNoLongerWanted) {
  task_.cluster = TwoDevices();
  task_.search_seconds = 60;
  int asked = 0;
  const auto planned = PlanProgram(task_, program_, [&](const std::string&) { return ++asked < 3; });
  EXPECT_TRUE(absl::IsCancelled(planned.status())) << planned.status();
  EXPECT_EQ(asked, 3);
}

TEST_F(PlanningTest, InvalidBytesAreABadProgram) {
  for (const std::string& bytes : {std::string(), std::string("garbage"), program_.substr(0, program_.size() / 2)}) {
    const absl::Status status = PlanProgram(task_, bytes).status();
    EXPECT_EQ(ReasonOf(status), reason::kBadProgram) << status;
    EXPECT_EQ(ReasonOf(CheckProgram(task_, bytes)), reason::kBadProgram);
  }
}

TEST_F(PlanningTest, AnUnsupportedOpIsNamedWithItsSourceLocation) {
  program_ = graph::testing::ReadTestdata("unsupported.pb");
  const absl::Status status = Error();
  EXPECT_EQ(ReasonOf(status), reason::kUnsupportedOp);
  EXPECT_THAT(std::string(status.message()), HasSubstr("make_testdata.py")) << "the op's source location";
  EXPECT_EQ(ReasonOf(CheckProgram(task_, program_)), reason::kUnsupportedOp);
}

TEST_F(PlanningTest, WrongRolesAreABadProgram) {
  struct Row {
    const char* name;
    std::function<void(proto::Roles&)> damage;
  };
  const std::vector<Row> rows = {
      {"an input is missing", [](proto::Roles& r) { r.mutable_inputs()->RemoveLast(); }},
      {"an output is missing", [](proto::Roles& r) { r.mutable_outputs()->RemoveLast(); }},
      {"one input too many", [](proto::Roles& r) { r.add_inputs(); }},
      {"no roles", [](proto::Roles& r) { r.Clear(); }},
      {"a state of another shape", [](proto::Roles& r) { r.mutable_outputs(0)->set_state_input(1); }},
      {"a state input that does not exist", [](proto::Roles& r) { r.mutable_outputs(0)->set_state_input(999); }},
      {"a negative state input", [](proto::Roles& r) { r.mutable_outputs(0)->set_state_input(-7); }},
      {"a path twice", [](proto::Roles& r) { r.mutable_inputs(0)->set_path("k"); }},
      {"an unknown kind",
       [](proto::Roles& r) { r.mutable_inputs(0)->set_kind(static_cast<proto::InputRole::Kind>(9)); }},
      {"a state without its output", [](proto::Roles& r) { r.mutable_inputs(7)->set_kind(proto::InputRole::STATE); }},
  };
  const proto::Roles good = task_.roles;
  for (const Row& row : rows) {
    task_.roles = good;
    row.damage(task_.roles);
    const absl::Status status = Error();
    EXPECT_EQ(ReasonOf(status), reason::kBadProgram) << row.name << ": " << status;
    EXPECT_EQ(ReasonOf(CheckProgram(task_, program_)), reason::kBadProgram) << row.name;
  }
}

TEST_F(PlanningTest, PinsThatDoNotFitAreNotFeasible) {
  struct Row {
    const char* name;
    std::function<void(proto::PlanRequest&)> pin;
  };
  const std::vector<Row> rows = {
      {"more devices than there are", [](proto::PlanRequest& r) { r.set_devices(3); }},
      {"microbatches that do not divide the batch", [](proto::PlanRequest& r) { r.set_microbatches(7); }},
      {"more microbatches than rows", [](proto::PlanRequest& r) { r.set_microbatches(int64_t{1} << 40); }},
      {"a seed of a leaf that does not exist",
       [](proto::PlanRequest& r) { r.set_microbatches(2), r.add_batch_dims()->set_leaf(999); }},
      {"a tensor cut of a leaf that does not exist",
       [](proto::PlanRequest& r) { r.set_tensor_parallel(2), r.add_tensor_cuts()->set_leaf(9); }},
      {"a tensor cut of the batch",
       [](proto::PlanRequest& r) { r.set_tensor_parallel(2), r.add_tensor_cuts()->set_leaf(7); }},
      {"a tensor cut of a dimension that does not exist",
       [](proto::PlanRequest& r) { r.set_tensor_parallel(2), r.add_tensor_cuts()->set_dim(5); }},
      {"a tensor cut without a tensor axis", [](proto::PlanRequest& r) { r.add_tensor_cuts()->set_dim(0); }},
      {"a seed of a negative leaf",
       [](proto::PlanRequest& r) { r.set_microbatches(2), r.add_batch_dims()->set_leaf(-1); }},
      {"a seed of a dimension that does not exist",
       [](proto::PlanRequest& r) {
         r.set_microbatches(2);
         proto::Seed* seed = r.add_batch_dims();
         seed->set_leaf(7);
         seed->set_dim(9);
       }},
  };
  for (const Row& row : rows) {
    task_.request.Clear();
    row.pin(task_.request);
    const absl::Status status = Error();
    EXPECT_EQ(ReasonOf(status), reason::kNoFeasiblePlan) << row.name << ": " << status;
    EXPECT_TRUE(CheckProgram(task_, program_).ok()) << row.name << ": the program itself is valid";
  }
}

}  // namespace
}  // namespace alpa::coordinator
