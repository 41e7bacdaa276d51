#include "coordinator/planner_process/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "coordinator/core/errors.h"
#include "proto/planning.pb.h"

namespace alpa::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// ---- Frames on the wire ----

TEST(WireTest, FramesSurviveAnyCutOfTheStream) {
  const std::string program(1000, 'p');
  const std::string stream = FrameHeader(FrameKind::kTask, 4) + "task" + FrameHeader(FrameKind::kProgress, 0) +
                             FrameHeader(FrameKind::kProgram, program.size()) + program;
  for (size_t piece : {size_t{1}, size_t{7}, size_t{64}, stream.size()}) {
    FrameReader reader;
    std::vector<Frame> frames;
    for (size_t at = 0; at < stream.size(); at += piece) {
      ASSERT_TRUE(reader.Feed(absl::string_view(stream).substr(at, piece), &frames).ok());
    }
    EXPECT_TRUE(reader.empty());
    ASSERT_THAT(frames, SizeIs(3)) << piece;
    EXPECT_EQ(frames[0].kind, FrameKind::kTask);
    EXPECT_EQ(frames[0].payload, "task");
    EXPECT_EQ(frames[1].payload, "");
    EXPECT_EQ(frames[2].kind, FrameKind::kProgram);
    EXPECT_EQ(frames[2].payload, program);
  }
}

TEST(WireTest, AnEmptyFrameAtTheEndOfTheStreamIsComplete) {
  FrameReader reader;
  std::vector<Frame> frames;
  ASSERT_TRUE(reader.Feed(FrameHeader(FrameKind::kProgram, 0), &frames).ok());
  EXPECT_THAT(frames, SizeIs(1));
}

TEST(WireTest, BadFramesAreRefused) {
  for (const std::string& bytes :
       {std::string("\0", 1), std::string("\x06"), std::string("GET / HTTP/1.1"),
        std::string("\x03\xff\xff\xff\xff\xff\xff\xff\xff", 9), std::string("\x05\0\0\0\0\0\0\0\x80", 9)}) {
    FrameReader reader;
    std::vector<Frame> frames;
    EXPECT_EQ(reader.Feed(bytes, &frames).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(frames, SizeIs(0));
  }
}

// ---- Tasks on the wire ----

PlanTask Task() {
  PlanTask task;
  task.job_id = "job";
  task.epoch = 3;
  task.program_hash = 0xffff'ffff'ffff'fff0;
  task.roles.add_inputs()->set_path("w");
  task.request.set_data_parallel(2);
  task.devices = {DeviceId(4), DeviceId(7)};
  task.cluster.hosts.push_back({.name = "host", .cores = 4});
  for (int id : {4, 7}) {
    cluster::Device device;
    device.id = DeviceId(id);
    device.node = "a";
    device.local_index = id == 7;
    device.kind = "cpu";
    task.cluster.devices.push_back(device);
  }
  task.search_seconds = 0.1;
  return task;
}

TEST(WireTest, ATaskSurvivesTheRoundTrip) {
  for (bool hosts : {true, false}) {
    PlanTask task = Task();
    if (!hosts) task.cluster.hosts.clear();
    const auto back = TaskFromWire(TaskToWire(task, "1.0"), "1.0");
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->job_id, task.job_id);
    EXPECT_EQ(back->epoch, task.epoch);
    EXPECT_EQ(back->program_hash, task.program_hash);
    EXPECT_EQ(back->roles.SerializeAsString(), task.roles.SerializeAsString());
    EXPECT_EQ(back->request.SerializeAsString(), task.request.SerializeAsString());
    EXPECT_EQ(back->devices, task.devices);
    EXPECT_EQ(back->cluster, task.cluster);
    EXPECT_EQ(back->search_seconds, task.search_seconds);
  }
}

TEST(WireTest, ATaskWithoutDevicesNeedsNoCluster) {
  PlanTask task = Task();
  task.devices.clear();
  task.cluster = {};
  const auto back = TaskFromWire(TaskToWire(task, "1.0"), "1.0");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(back->devices.empty());
}

TEST(WireTest, ATaskOfAnotherVersionIsRefused) {
  const auto other = TaskFromWire(TaskToWire(Task(), "1.0"), "1.1");
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("same build"));
  EXPECT_FALSE(TaskFromWire("\xff\xff", "1.0").ok());
}

// ---- Answers on the wire ----

PlanningResult Result() {
  PlanningResult result;
  Planned& planned = result.planned;
  planned.plan.set_origin("pinned");
  planned.plan_text = "text \xff that is not UTF-8";
  planned.spans = {{1, "step \xff", 0.25, 0.5}};
  planned.serialized_executable = "not part of the answer";
  planned.placement.add_outputs()->set_path("loss");
  planned.devices = {DeviceId(4)};
  planned.loss_output = 0;
  planned.loss_shape = {graph::DType::kBF16, {1, 1}};
  planned.seconds = 1.5;
  planned.phase_seconds = {{"import", 0.5}, {"plan", 1}};
  planned.warnings = {"one", "two"};
  return result;
}

TEST(WireTest, APlanSurvivesTheRoundTripWithoutItsExecutable) {
  const PlanningResult result = Result();
  const auto back = AnswerFromWire(AnswerToWire(result));
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_TRUE(back->status.ok());
  const Planned& planned = back->planned;
  EXPECT_EQ(planned.plan.origin(), "pinned");
  EXPECT_EQ(planned.plan_text, result.planned.plan_text);
  ASSERT_THAT(planned.spans, SizeIs(1));
  EXPECT_EQ(planned.spans[0].program, "step \xff");
  EXPECT_EQ(planned.spans[0].mesh, 1);
  EXPECT_EQ(planned.spans[0].begin, 0.25);
  EXPECT_EQ(planned.spans[0].end, 0.5);
  EXPECT_EQ(planned.serialized_executable, "");
  EXPECT_EQ(planned.placement.outputs_size(), 1);
  EXPECT_EQ(planned.devices, result.planned.devices);
  EXPECT_EQ(planned.loss_output, 0);
  EXPECT_EQ(planned.loss_shape, result.planned.loss_shape);
  EXPECT_EQ(planned.seconds, 1.5);
  EXPECT_EQ(planned.phase_seconds, result.planned.phase_seconds);
  EXPECT_EQ(planned.warnings, result.planned.warnings);
}

TEST(WireTest, AnErrorKeepsItsCodeMessageAndReason) {
  for (absl::string_view word : {absl::string_view(), reason::kUnsupportedOp}) {
    const absl::Status status = WithReason(absl::UnimplementedError("the op fft\xff is not supported"), word);
    const auto back = AnswerFromWire(AnswerToWire({status, {}}));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_EQ(back->status.message(), "the op fft? is not supported");
    EXPECT_EQ(ReasonOf(back->status), word);
  }
  const absl::Status endless = absl::InternalError(std::string(10 << 20, 'x'));
  EXPECT_LT(AnswerToWire({endless, {}}).size(), 100'000u);
}

TEST(WireTest, BadAnswersAreRefused) {
  using Damage = void (*)(proto::PlanningAnswer&);
  const std::vector<std::pair<const char*, Damage>> rows = {
      {"an unknown code", [](proto::PlanningAnswer& a) { a.set_code(99); }},
      {"a negative code", [](proto::PlanningAnswer& a) { a.set_code(-1); }},
      {"an unknown reason", [](proto::PlanningAnswer& a) { a.set_code(3), a.set_reason("BUSY"); }},
      {"a loss out of range", [](proto::PlanningAnswer& a) { a.set_loss_output(1); }},
      {"a negative loss", [](proto::PlanningAnswer& a) { a.set_loss_output(-2); }},
      {"a loss that is an integer", [](proto::PlanningAnswer& a) { a.mutable_loss_shape()->set_dtype(4); }},
      {"a loss of an unknown type", [](proto::PlanningAnswer& a) { a.mutable_loss_shape()->set_dtype(266); }},
      {"a large loss", [](proto::PlanningAnswer& a) { a.mutable_loss_shape()->add_dims(1 << 20); }},
      {"an unknown phase", [](proto::PlanningAnswer& a) { a.add_phases()->set_phase("x"); }},
  };
  for (const auto& [name, damage] : rows) {
    proto::PlanningAnswer answer;
    ASSERT_TRUE(answer.ParseFromString(AnswerToWire(Result())));
    damage(answer);
    EXPECT_EQ(AnswerFromWire(answer.SerializeAsString()).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_FALSE(AnswerFromWire("\xff").ok());
}

TEST(WireTest, TheNumberAndTheSizeOfWarningsAreBounded) {
  proto::PlanningAnswer answer;
  for (int i = 0; i < 10'000; ++i) answer.add_warnings(std::string(10'000, 'w'));
  const auto back = AnswerFromWire(answer.SerializeAsString());
  ASSERT_TRUE(back.ok());
  EXPECT_THAT(back->planned.warnings, SizeIs(100));
  EXPECT_LT(back->planned.warnings[0].size(), 1100u);
}

}  // namespace
}  // namespace alpa::coordinator
