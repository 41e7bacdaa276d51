#include "worker/core/worker_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <numeric>

#include "base/status.h"
#include "comm/local/local_transport.h"
#include "worker/core/errors.h"
#include "worker/testing/executables.h"
#include "worker/testing/fake_backend.h"
#include "worker/testing/recording_sink.h"

namespace alpa::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WorkerCoreTest : public ::testing::TestWithParam<bool> {
 protected:
  static constexpr int kDevices = 4;
  WorkerCoreTest()
      : backend_(kDevices, GetParam()), transport_(comm::MakeLocalTransport()),
        core_(std::make_unique<WorkerCore>(WorkerCore::Options{&backend_, transport_.get(), 0, &Clock::Real()})) {}

  void Prepare(const std::string& job, plan::Executable executable, std::vector<Rank> ranks, uint64_t epoch = 1) {
    JobRuntime::Spec spec;
    spec.job_id = job;
    spec.epoch = epoch;
    spec.ranks = std::move(ranks);
    spec.transport_epoch = ++transport_epoch_;
    spec.load = [executable]() -> absl::StatusOr<plan::Executable> { return executable; };
    core_->Prepare(std::move(spec), sink_);
  }
  void MustPrepare(const std::string& job, plan::Executable executable, std::vector<Rank> ranks) {
    Prepare(job, std::move(executable), std::move(ranks));
    const absl::Status status = sink_->Prepared(job);
    ASSERT_TRUE(status.ok()) << status;
  }

  absl::Status Put(const std::string& job, LeafKind kind, int leaf, int64_t version, const Region& region,
                   const std::vector<float>& values, uint64_t epoch = 1) {
    ALPA_ASSIGN_OR_RETURN(const auto found, core_->Find(job, epoch));
    ALPA_ASSIGN_OR_RETURN(const auto transfer, found->BeginPut(kind, leaf, version, region));
    const auto bytes = std::as_bytes(std::span(values));
    for (size_t at = 0; at < bytes.size(); at += 7) {
      ALPA_RETURN_IF_ERROR(transfer->Write(bytes.subspan(at, std::min<size_t>(7, bytes.size() - at))));
    }
    return transfer->Finish();
  }
  absl::StatusOr<std::vector<float>> Get(const std::string& job, LeafKind kind, int leaf, int64_t version,
                                         const Region& region) {
    ALPA_ASSIGN_OR_RETURN(const auto found, core_->Find(job, 1));
    ALPA_ASSIGN_OR_RETURN(const auto transfer, found->BeginGet(kind, leaf, version, region));
    std::vector<float> values(transfer->size() / sizeof(float));
    const auto bytes = std::as_writable_bytes(std::span(values));
    for (size_t at = 0; at < bytes.size(); at += 11) {
      ALPA_RETURN_IF_ERROR(transfer->Read(bytes.subspan(at, std::min<size_t>(11, bytes.size() - at))));
    }
    return values;
  }
  void MustPut(const std::string& job, LeafKind kind, int leaf, int64_t version, const Region& region,
               const std::vector<float>& values) {
    const absl::Status status = Put(job, kind, leaf, version, region, values);
    ASSERT_TRUE(status.ok()) << status;
  }
  void Run(const std::string& job, int64_t first, int64_t count, int first_slot = 0, int slots = 1) {
    core_->RunSteps(job, 1, {first, count, first_slot, slots}, *sink_);
  }
  static Region Whole(std::vector<int64_t> dims) { return {std::vector<int64_t>(dims.size(), 0), dims}; }

  // Starts a job of AddExecutable(2). All elements of the job's state are 0, and all elements of its batch slot 0 are
  // 1.
  void StartAddJob(const std::string& job, int first_device = 0) {
    plan::Executable executable = AddExecutable(2);
    executable.meshes = {TestMesh({2}, first_device)};
    MustPrepare(job, executable, TestRanks(2, first_device));
    MustPut(job, LeafKind::kState, 0, 0, Whole({4}), {0, 0, 0, 0});
    MustPut(job, LeafKind::kBatch, 1, 0, Whole({8}), std::vector<float>(8, 1));
  }

  FakeBackend backend_;
  std::unique_ptr<comm::Transport> transport_;
  std::shared_ptr<RecordingSink> sink_ = std::make_shared<RecordingSink>();
  uint64_t transport_epoch_ = 0;
  std::unique_ptr<WorkerCore> core_;
};

TEST_P(WorkerCoreTest, OneDeviceRunsAStepAndServesStateAndAux) {
  MustPrepare("job", AddExecutable(1), TestRanks(1));
  MustPut("job", LeafKind::kState, 0, 0, Whole({4}), {1, 2, 3, 4});
  MustPut("job", LeafKind::kBatch, 1, 5, Whole({4}), {10, 20, 30, 40});
  Run("job", 1, 1, 5);
  const auto report = sink_->Step("job");
  ASSERT_TRUE(report.status.ok()) << report.status;
  EXPECT_EQ(report.step, 1);
  EXPECT_GT(report.cost.seconds, 0);
  ASSERT_EQ(report.scalars.size(), 1u);
  EXPECT_EQ(report.scalars[0].output, 1);
  EXPECT_EQ(ScalarOf<float>(report.scalars[0]), 110);
  EXPECT_THAT(*Get("job", LeafKind::kState, 0, 1, Whole({4})), ElementsAre(11, 22, 33, 44));
  EXPECT_THAT(*Get("job", LeafKind::kState, 0, 1, {{1}, {2}}), ElementsAre(22, 33));
  EXPECT_THAT(*Get("job", LeafKind::kAux, 1, 1, {}), ElementsAre(110));
  core_->Release("job", 1, absl::OkStatus(), *sink_);
  EXPECT_TRUE(sink_->Released("job"));
  for (Bytes used : core_->device_bytes_in_use()) EXPECT_EQ(used, 0);
}

TEST_P(WorkerCoreTest, TwoDevicesReduceAndKeepReplicas) {
  MustPrepare("job", AddExecutable(2), TestRanks(2));
  MustPut("job", LeafKind::kState, 0, 0, Whole({4}), {0, 0, 0, 0});  // fills both replicas
  MustPut("job", LeafKind::kBatch, 1, 0, {{0}, {3}}, {1, 2, 3});
  MustPut("job", LeafKind::kBatch, 1, 0, {{3}, {5}}, {4, 10, 20, 30, 40});
  Run("job", 1, 2);
  ASSERT_TRUE(sink_->Step("job", 2).status.ok());
  EXPECT_EQ(sink_->Step("job", 2).step, 2);
  EXPECT_THAT(*Get("job", LeafKind::kState, 0, 2, Whole({4})), ElementsAre(22, 44, 66, 88));
  EXPECT_EQ(ScalarOf<float>(sink_->Step("job", 1).scalars[0]), 110);
  EXPECT_EQ(ScalarOf<float>(sink_->Step("job", 2).scalars[0]), 220);
}

TEST_P(WorkerCoreTest, ALoopAccumulatesAndPassesItsIndex) {
  constexpr int kRounds = 5;
  MustPrepare("job", LoopExecutable(kRounds), TestRanks(1));
  MustPut("job", LeafKind::kState, 0, 0, Whole({2}), {100, 200});
  std::vector<float> batch(2 * kRounds);
  std::iota(batch.begin(), batch.end(), 1.0f);
  MustPut("job", LeafKind::kBatch, 1, 0, Whole({kRounds, 2}), batch);
  Run("job", 1, 2);
  ASSERT_TRUE(sink_->Step("job", 2).status.ok()) << sink_->Step("job", 2).status;
  // The rows of the batch sum to (25, 30). The accumulator starts from 0.5 in each step.
  EXPECT_THAT(*Get("job", LeafKind::kState, 0, 2, Whole({2})), ElementsAre(151, 261));
  EXPECT_EQ(ScalarOf<int32_t>(sink_->Step("job", 2).scalars[0]), 0 + 1 + 2 + 3 + 4);
}

TEST_P(WorkerCoreTest, MeshesSendAndReceiveArrays) {
  MustPrepare("job", SendExecutable(), TestRanks(2));
  MustPut("job", LeafKind::kState, 0, 0, Whole({3}), {1, 2, 3});
  MustPut("job", LeafKind::kState, 1, 0, Whole({3}), {0, 0, 0});
  Run("job", 1, 3, 0, 0);
  ASSERT_TRUE(sink_->Step("job", 3).status.ok()) << sink_->Step("job", 3).status;
  EXPECT_THAT(*Get("job", LeafKind::kState, 0, 3, Whole({3})), ElementsAre(4, 5, 6));
  EXPECT_THAT(*Get("job", LeafKind::kState, 1, 3, Whole({3})), ElementsAre(12, 18, 24));
  EXPECT_THAT(*Get("job", LeafKind::kAux, 2, 2, Whole({3})), ElementsAre(4, 6, 8));
}

TEST_P(WorkerCoreTest, PutsOfSplitStateReachTheRightTiles) {
  MustPrepare("job", SplitStateExecutable(), TestRanks(2));
  std::vector<float> m(20);
  std::iota(m.begin(), m.end(), 0.0f);
  // Puts two disjoint regions. Both regions cross the boundary between the tiles.
  MustPut("job", LeafKind::kState, 0, 0, {{0, 0}, {2, 5}}, {m.begin(), m.begin() + 10});
  Run("job", 1, 1);
  EXPECT_EQ(sink_->Step("job", 1).status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(sink_->Step("job", 1).status.message()), HasSubstr("[2:4, 0:3]"));
  MustPut("job", LeafKind::kState, 0, 0, {{2, 0}, {2, 5}}, {m.begin() + 10, m.end()});
  MustPut("job", LeafKind::kState, 1, 0, Whole({4}), {7, 7, 7, 7});
  Run("job", 1, 1);
  ASSERT_TRUE(sink_->Step("job", 2).status.ok()) << sink_->Step("job", 2).status;
  for (float& x : m) x += 1;
  EXPECT_EQ(*Get("job", LeafKind::kState, 0, 1, Whole({4, 5})), m);
  EXPECT_THAT(*Get("job", LeafKind::kState, 0, 1, {{1, 2}, {2, 2}}), ElementsAre(8, 9, 13, 14));
}

TEST_P(WorkerCoreTest, NamesTheWorkerThatHasARegion) {
  std::vector<Rank> ranks = TestRanks(2);
  ranks[1].worker = "other";
  ranks[1].local_device = -1;
  ranks[1].transport_address = "nowhere";
  // The local transport cannot reach another worker. The program has no messages, so this transport only opens the
  // endpoint of rank 0.
  class Lonely : public comm::Transport {
   public:
    std::string address() const override { return ""; }
    absl::StatusOr<std::vector<std::unique_ptr<comm::Endpoint>>> Open(uint64_t, const std::vector<Peer>&) override {
      std::vector<std::unique_ptr<comm::Endpoint>> endpoints = comm::MakeLocalEndpoints(2);
      endpoints.pop_back();
      return endpoints;
    }
  } lonely;
  core_ = std::make_unique<WorkerCore>(WorkerCore::Options{&backend_, &lonely, 0, &Clock::Real()});
  MustPrepare("job", SplitStateExecutable(), ranks);
  MustPut("job", LeafKind::kState, 0, 0, Whole({4, 5}), std::vector<float>(20, 1));  // writes only the local tile
  MustPut("job", LeafKind::kState, 1, 0, Whole({4}), std::vector<float>(4, 1));
  const absl::Status get = Get("job", LeafKind::kState, 0, 0, Whole({4, 5})).status();
  EXPECT_EQ(get.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(get.message()), HasSubstr("[0:4, 3:5]"));
  EXPECT_THAT(std::string(get.message()), HasSubstr("\"other\""));
  EXPECT_EQ(ReasonOf(get), "WRONG_WORKER");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 0, 0, {{0, 3}, {4, 2}}, std::vector<float>(8, 1))), "WRONG_WORKER");
  core_.reset();
}

TEST_P(WorkerCoreTest, RefusesWrongVersionsAndPutsDuringSteps) {
  StartAddJob("job");
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  backend_.before_run = [open](int) { return open.wait(), absl::OkStatus(); };
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 0, 1, Whole({4}), {1, 1, 1, 1})), "STALE_STATE");
  Run("job", 2, 1);  // fails, because step 1 is next
  EXPECT_EQ(ReasonOf(sink_->Step("job", 1).status), "STALE_STATE");
  Run("job", 1, 1);
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 0, 0, Whole({4}), {1, 1, 1, 1})), "STALE_STATE");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kBatch, 1, 0, Whole({8}), std::vector<float>(8, 1))), "STALE_STATE");
  EXPECT_EQ(ReasonOf(Get("job", LeafKind::kState, 0, 0, Whole({4})).status()), "STALE_STATE");
  if (GetParam()) MustPut("job", LeafKind::kBatch, 1, 1, Whole({8}), std::vector<float>(8, 1));  // no step reads slot 1
  gate.set_value();
  ASSERT_TRUE(sink_->Step("job", 2).status.ok());
  EXPECT_EQ(ReasonOf(Get("job", LeafKind::kState, 0, 0, Whole({4})).status()), "STALE_STATE");
  EXPECT_EQ(ReasonOf(Get("job", LeafKind::kAux, 1, 2, {}).status()), "STALE_STATE");
  EXPECT_THAT(*Get("job", LeafKind::kState, 0, 1, Whole({4})), ElementsAre(2, 2, 2, 2));
  // Between steps, state can be put again at the current version.
  MustPut("job", LeafKind::kState, 0, 1, Whole({4}), {5, 5, 5, 5});
  EXPECT_THAT(*Get("job", LeafKind::kState, 0, 1, Whole({4})), ElementsAre(5, 5, 5, 5));
}

TEST_P(WorkerCoreTest, AnIncompletePutLeavesTheLeafIncomplete) {
  StartAddJob("job");
  {
    const auto job = *core_->Find("job", 1);
    auto transfer = *job->BeginPut(LeafKind::kState, 0, 0, Whole({4}));
    const std::vector<float> half = {9, 9};
    ASSERT_TRUE(transfer->Write(std::as_bytes(std::span(half))).ok());
    EXPECT_FALSE(transfer->Finish().ok());
    EXPECT_EQ(Put("job", LeafKind::kState, 0, 0, {{1}, {1}}, {1}).code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(ReasonOf(Get("job", LeafKind::kState, 0, 0, Whole({4})).status()), "NOT_READY");
  Run("job", 1, 1);
  EXPECT_EQ(ReasonOf(sink_->Step("job").status), "NOT_READY");
  MustPut("job", LeafKind::kState, 0, 0, Whole({4}), {1, 1, 1, 1});
  Run("job", 1, 1);
  EXPECT_TRUE(sink_->Step("job", 2).status.ok());
}

TEST_P(WorkerCoreTest, EachQueuedStepHasItsOwnBatchAndAux) {
  constexpr int kSteps = 100, kSlots = 3;
  StartAddJob("job");
  for (int slot = 0; slot < kSlots; ++slot) {
    MustPut("job", LeafKind::kBatch, 1, 10 + slot, Whole({8}), std::vector<float>(8, static_cast<float>(1 + slot)));
  }
  Run("job", 1, 60, 10, kSlots);
  Run("job", 61, 40, 10, kSlots);
  double state = 0;
  for (int step = 1; step <= kSteps; ++step) {
    state += 2 * (1 + (step <= 60 ? step - 1 : step - 61) % kSlots);
    const auto report = sink_->Step("job", step);
    ASSERT_TRUE(report.status.ok()) << report.status;
    ASSERT_EQ(report.step, step);
    ASSERT_EQ(ScalarOf<float>(report.scalars[0]), 4 * state) << "step " << step;
  }
  EXPECT_EQ((*Get("job", LeafKind::kState, 0, kSteps, Whole({4})))[0], state);
  for (int step = kSteps - 15; step <= kSteps; ++step) {
    EXPECT_EQ((*Get("job", LeafKind::kAux, 1, step, {}))[0], ScalarOf<float>(sink_->Step("job", step).scalars[0]));
  }
  EXPECT_EQ(ReasonOf(Get("job", LeafKind::kAux, 1, kSteps - 16, {}).status()), "STALE_STATE");
}

TEST_P(WorkerCoreTest, StepsAreEnqueuedWhileAnEarlierStepRuns) {
  StartAddJob("job");
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  backend_.before_run = [open](int) { return open.wait(), absl::OkStatus(); };
  Run("job", 1, 3);
  // All steps are accepted before the first step can end. Only the programs of the first step have begun.
  for (int i = 0; i < 2000 && backend_.runs < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(backend_.runs, 2);
  ASSERT_EQ(core_->progress().size(), 1u);
  EXPECT_EQ(core_->progress()[0].progress.step, 1);
  EXPECT_EQ(sink_->reports("job"), 0u);
  gate.set_value();
  EXPECT_TRUE(sink_->Step("job", 3).status.ok());
}

TEST_P(WorkerCoreTest, AFailureOnOneDeviceEndsOnlyItsJobAndInvalidatesTheState) {
  StartAddJob("bad");
  StartAddJob("good", 2);
  std::atomic<int> runs{0};
  backend_.before_run = [&](int device) -> absl::Status {
    if (device == 1 && ++runs == 2) return absl::InternalError("device 1 burnt down");
    return absl::OkStatus();
  };
  Run("bad", 1, 5);
  Run("good", 1, 5);
  EXPECT_TRUE(sink_->Step("bad", 1).status.ok());
  const auto failed = sink_->Step("bad", 2);
  EXPECT_EQ(failed.step, 2);
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr("burnt down"));
  EXPECT_THAT(PayloadOf(failed.status, kOpPayload), HasSubstr("RUN \"step\""));
  EXPECT_FALSE(IsSecondary(failed.status));
  EXPECT_EQ(ReasonOf(Get("bad", LeafKind::kState, 0, 1, Whole({4})).status()), "JOB_FAILED");
  Run("bad", 6, 1);
  EXPECT_EQ(ReasonOf(sink_->Step("bad", 3).status), "JOB_FAILED");
  for (int step = 1; step <= 5; ++step) EXPECT_TRUE(sink_->Step("good", step).status.ok());
  EXPECT_THAT(*Get("good", LeafKind::kState, 0, 5, Whole({4})), ElementsAre(10, 10, 10, 10));
  core_->Release("bad", 1, absl::OkStatus(), *sink_);
  EXPECT_TRUE(sink_->Released("bad"));
  // The devices can serve the next epoch.
  Prepare("bad", AddExecutable(2), TestRanks(2), 2);
  EXPECT_TRUE(sink_->Prepared("bad", 2).ok());
}

TEST_P(WorkerCoreTest, AReleaseUnblocksACollective) {
  StartAddJob("job");
  StartAddJob("other", 2);
  // The gate makes device 1 wait before the collective until Release has returned. Meanwhile, device 0 waits in the
  // collective.
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();
  backend_.before_run = [open](int device) { return device == 1 ? open.wait() : void(), absl::OkStatus(); };
  Run("job", 1, 1);
  for (int i = 0; i < 2000 && backend_.runs < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto begin = std::chrono::steady_clock::now();
  core_->Release("job", 1, absl::CancelledError("stopped by the user"), *sink_);
  gate.set_value();
  EXPECT_TRUE(sink_->Released("job"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(sink_->reports("job"), 0u);  // a released job reports no steps
  EXPECT_EQ(core_->Find("job", 1).ok() ? core_->Find("job", 1).value()->released() : true, true);
  Run("other", 1, 1);
  EXPECT_TRUE(sink_->Step("other").status.ok());
}

TEST_P(WorkerCoreTest, RefusesInvalidRequests) {
  StartAddJob("job");
  Prepare("job", AddExecutable(2), TestRanks(2));
  EXPECT_EQ(sink_->Prepared("job", 2).code(), absl::StatusCode::kAlreadyExists);
  Prepare("job", AddExecutable(2), TestRanks(2), 0);
  EXPECT_EQ(sink_->Prepared("job", 3).code(), absl::StatusCode::kAborted);
  Prepare("thief", AddExecutable(1), TestRanks(1));
  EXPECT_EQ(sink_->Prepared("thief").code(), absl::StatusCode::kFailedPrecondition);
  plan::Executable broken = AddExecutable(1);
  broken.meshes = {TestMesh({1}, 3)};
  broken.mesh_programs[0].instructions.clear();
  Prepare("broken", broken, TestRanks(1, 3));
  EXPECT_EQ(sink_->Prepared("broken").code(), absl::StatusCode::kInvalidArgument);
  Prepare("ranks", AddExecutable(1), TestRanks(1, 3));
  EXPECT_EQ(sink_->Prepared("ranks").code(), absl::StatusCode::kInvalidArgument);
  Prepare("none", AddExecutable(1), {{DeviceId(0), "other", "", -1}});
  EXPECT_EQ(sink_->Prepared("none").code(), absl::StatusCode::kInvalidArgument);
  core_->RunSteps("nobody", 1, {1, 1, 0, 1}, *sink_);
  EXPECT_EQ(sink_->Step("nobody").status.code(), absl::StatusCode::kNotFound);
  core_->Release("nobody", 1, absl::OkStatus(), *sink_);
  EXPECT_TRUE(sink_->Released("nobody"));
  for (const StepRange& range :
       {StepRange{1, 0, 0, 1}, StepRange{1, -1, 0, 1}, StepRange{1, 1, -1, 1}, StepRange{1, 1, 1000, 25},
        StepRange{1, int64_t{1} << 60, 0, 1}, StepRange{1, 1, 7, 1}}) {
    core_->RunSteps("job", 1, range, *sink_);
  }
  for (int i = 1; i <= 6; ++i) EXPECT_FALSE(sink_->Step("job", i).status.ok());
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 9, 0, Whole({4}), {0, 0, 0, 0})), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 1, 0, Whole({8}), {0, 0, 0, 0})), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 0, 0, {{-1}, {2}}, {0, 0})), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 0, 0, {{1}, {INT64_MAX}}, {0, 0})), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 0, 0, {{0, 0}, {4, 1}}, {0, 0})), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kBatch, 1, 1024, Whole({8}), std::vector<float>(8))), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kBatch, 1, -1, Whole({8}), std::vector<float>(8))), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(Put("job", LeafKind::kState, 0, 0, Whole({4}), std::vector<float>(5))), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(Get("job", LeafKind::kAux, 0, 1, Whole({4})).status()), "BAD_REQUEST");
  EXPECT_EQ(ReasonOf(core_->Find("job", 0).status()), "STALE_EPOCH");
  EXPECT_EQ(ReasonOf(core_->Find("jab", 1).status()), "JOB_NOT_FOUND");
}

TEST_P(WorkerCoreTest, ADrainLetsRunningStepsEndAndReleasesAllJobs) {
  StartAddJob("job");
  Run("job", 1, 10);
  EXPECT_TRUE(core_->Drain(Clock::Real().Now() + std::chrono::seconds(20)));
  EXPECT_TRUE(sink_->Released("job"));
  Prepare("late", AddExecutable(1), TestRanks(1));
  EXPECT_EQ(sink_->Prepared("late").code(), absl::StatusCode::kUnavailable);
  for (Bytes used : core_->device_bytes_in_use()) EXPECT_EQ(used, 0);
}

TEST_P(WorkerCoreTest, APutBeyondTheMemoryLimitFailsWithResourceExhausted) {
  core_ = std::make_unique<WorkerCore>(WorkerCore::Options{&backend_, transport_.get(), 20, &Clock::Real()});
  Prepare("job", AddExecutable(1), TestRanks(1));
  ASSERT_TRUE(sink_->Prepared("job").ok());  // its state takes 16 of the 20 bytes
  MustPut("job", LeafKind::kState, 0, 0, Whole({4}), {0, 0, 0, 0});
  EXPECT_EQ(Put("job", LeafKind::kBatch, 1, 0, Whole({4}), {0, 0, 0, 0}).code(), absl::StatusCode::kResourceExhausted);
  core_.reset();
}

INSTANTIATE_TEST_SUITE_P(Devices, WorkerCoreTest, ::testing::Values(true, false),
                         [](const auto& info) { return info.param ? "HostAddressable" : "OwnMemory"; });

}  // namespace
}  // namespace alpa::worker
