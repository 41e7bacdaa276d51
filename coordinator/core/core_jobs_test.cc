#include "coordinator/testing/core_world.h"

namespace alpa::coordinator {
namespace {

using proto::Job;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Ids(const std::vector<Job>& jobs) {
  std::vector<std::string> ids;
  for (const Job& job : jobs) ids.push_back(job.job_id());
  return ids;
}

// ---- Submission of jobs ----

TEST(CoreJobsTest, AJobIsOnDiskBeforeItIsAcknowledged) {
  CoreWorld world;
  world.store.failure = absl::UnavailableError("disk full");
  const auto refused = world.core->Submit(CoreWorld::Request("job", 1));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kStorage);
  EXPECT_TRUE(world.core->ListJobs().empty());
  world.store.failure = absl::OkStatus();
  world.Submit("job", 1);
  EXPECT_EQ(world.store.Jobs()->size(), 1u);
}

TEST(CoreJobsTest, SubmittingTheSameRequestAgainReturnsTheJob) {
  CoreWorld world;
  world.Worker("a", 1);
  world.RunningJob("job", 1);
  EXPECT_EQ(world.Submit("job", 1).state(), Job::RUNNING);
  const auto other = world.core->Submit(CoreWorld::Request("job", 2));
  EXPECT_EQ(other.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReasonOf(other.status()), reason::kJobExists);
  world.Restart();
  EXPECT_EQ(world.Submit("job", 1).state(), Job::FAILED) << "even after a restart and after the job has ended";
  EXPECT_EQ(world.core->ListJobs().size(), 1u);
}

TEST(CoreJobsTest, AJobWithoutAnIdGetsAUniqueId) {
  CoreWorld world;
  const std::string first = world.Submit("", 1).job_id(), second = world.Submit("", 1).job_id();
  EXPECT_NE(first, second);
  world.Restart();
  const std::string third = world.Submit("", 1).job_id();
  EXPECT_THAT(Ids(world.core->ListJobs()), ElementsAre(first, second, third));
}

TEST(CoreJobsTest, BadRequestsAreRefusedAndChangeNothing) {
  struct Row {
    const char* name;
    std::function<void(proto::SubmitRequest&)> damage;
    absl::string_view word;
  };
  const std::vector<Row> rows = {
      {"upper case", [](proto::SubmitRequest& r) { r.set_job_id("Job"); }, reason::kBadRequest},
      {"a path", [](proto::SubmitRequest& r) { r.set_job_id("../x"); }, reason::kBadRequest},
      {"an endless id", [](proto::SubmitRequest& r) { r.set_job_id(std::string(1 << 20, 'a')); }, reason::kBadRequest},
      {"an endless name", [](proto::SubmitRequest& r) { r.set_name(std::string(1 << 20, 'a')); }, reason::kBadRequest},
      {"negative devices", [](proto::SubmitRequest& r) { r.mutable_plan()->set_devices(-1); }, reason::kBadRequest},
      {"negative steps", [](proto::SubmitRequest& r) { r.set_total_steps(-1); }, reason::kBadRequest},
      {"unknown statistics",
       [](proto::SubmitRequest& r) { r.mutable_plan()->set_statistics(static_cast<proto::Plan::Statistics>(9)); },
       reason::kBadRequest},
      {"many seeds",
       [](proto::SubmitRequest& r) {
         for (int i = 0; i < 5000; ++i) r.mutable_plan()->add_batch_dims();
       },
       reason::kBadRequest},
      {"a contradiction", [](proto::SubmitRequest& r) { r.mutable_plan()->set_data_parallel(3); },
       reason::kNoFeasiblePlan},
      {"unknown schedule",
       [](proto::SubmitRequest& r) { r.mutable_plan()->mutable_pipeline()->set_schedule(std::string(5000, 'x')); },
       reason::kBadRequest},
      {"too many stages", [](proto::SubmitRequest& r) { r.mutable_plan()->mutable_pipeline()->set_meshes(65); },
       reason::kNoFeasiblePlan},
  };
  CoreWorld world;
  for (const Row& row : rows) {
    proto::SubmitRequest request = CoreWorld::Request("job", 1);
    row.damage(request);
    const auto job = world.core->Submit(request);
    EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument) << row.name;
    EXPECT_EQ(ReasonOf(job.status()), row.word) << row.name;
    EXPECT_LT(job.status().message().size(), 500u) << row.name;
  }
  EXPECT_TRUE(world.core->ListJobs().empty());
}

TEST(CoreJobsTest, TheQueueHasALimit) {
  Limits limits;
  limits.max_jobs = 2;
  CoreWorld world(limits);
  world.Submit("a", 1);
  world.Submit("b", 1);
  const auto refused = world.core->Submit(CoreWorld::Request("c", 1));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refused.status()), reason::kQueueFull);
  ASSERT_TRUE(world.core->Stop("a").ok());
  world.Submit("c", 1);
}

TEST(CoreJobsTest, ABadProgramFailsItsJobWhileTheJobWaits) {
  CoreWorld world;
  world.Submit("job", 1);
  ASSERT_EQ(world.actions.tasks.size(), 1u);
  EXPECT_TRUE(world.actions.tasks[0].devices.empty());
  EXPECT_TRUE(world.core->Wants(world.actions.tasks[0]));
  world.core->OnChecked("job", WithReason(absl::InvalidArgumentError("no module"), reason::kBadProgram));
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
  EXPECT_EQ(world.Job("job").cause(), Job::USER);
  EXPECT_EQ(world.Job("job").error_reason(), reason::kBadProgram);
}

// ---- Queue of waiting jobs ----

TEST(CoreJobsTest, JobsRunOnDisjointDevicesInOrder) {
  CoreWorld world;
  world.Worker("a", 2);
  world.Worker("b", 2);
  world.Submit("one", 2);
  world.Submit("two", 1);
  world.Submit("three", 1);
  std::set<DeviceId> used;
  for (const char* id : {"one", "two", "three"}) {
    EXPECT_EQ(world.Job(id).state(), Job::PLANNING) << id;
    for (DeviceId device : world.TaskOf(id).devices) EXPECT_TRUE(used.insert(device).second) << id;
  }
  EXPECT_EQ(used.size(), 4u);
  EXPECT_EQ(world.Submit("four", 1).reason(), "needs 1 device, 0 free of 4");
}

TEST(CoreJobsTest, AWaitingJobReportsWhyAndStartsWhenDevicesAreFree) {
  CoreWorld world;
  EXPECT_EQ(world.Submit("first", 2).reason(), "needs 2 devices, there are no workers");
  const uint64_t a = world.Worker("a", 1);
  EXPECT_EQ(world.Job("first").reason(), "needs 2 devices, the cluster has 1");
  const uint64_t b = world.Worker("b", 1);
  EXPECT_EQ(world.Job("first").state(), Job::PLANNING);
  world.Plan("first");
  world.Prepared(a, "first");
  world.Prepared(b, "first");
  EXPECT_EQ(world.Submit("second", 1).reason(), "needs 1 device, 0 free of 2");
  ASSERT_TRUE(world.core->Finish("first").ok());
  EXPECT_EQ(world.Job("first").state(), Job::SUCCEEDED);
  EXPECT_EQ(world.Job("second").state(), Job::PLANNING);
  EXPECT_THAT(world.EventKinds("first"), ElementsAre("submitted", "planning", "planned", "running", "succeeded"));
}

TEST(CoreJobsTest, AWaitingJobReservesItsWorkersUnlessItAsksForTooManyDevices) {
  CoreWorld world;
  world.Worker("a", 2);
  world.RunningJob("runs", 1);
  world.Submit("big", 2);
  EXPECT_EQ(world.Submit("small", 1).reason(), "waits behind job big") << "one device is free, but reserved";
  EXPECT_EQ(world.Submit("impossible", 64).reason(), "needs 64 devices, the cluster has 2");
  ASSERT_TRUE(world.core->Stop("runs").ok());
  EXPECT_EQ(world.Job("big").state(), Job::PLANNING);
  EXPECT_EQ(world.Job("small").state(), Job::PENDING);
  ASSERT_TRUE(world.core->Stop("big").ok());
  EXPECT_EQ(world.Job("small").state(), Job::PLANNING) << "a job that asks for too many devices blocks no other";
}

TEST(CoreJobsTest, AJobThatNamesWorkersReservesNoOthers) {
  CoreWorld world;
  world.Worker("a", 1);
  world.Worker("b", 1);
  proto::SubmitRequest request = CoreWorld::Request("on-a", 1);
  request.mutable_plan()->add_workers("a");
  world.Submit(request);
  request.set_job_id("also-on-a");
  EXPECT_EQ(world.Submit(request).reason(), "needs 1 device on a, 0 free of 1");
  EXPECT_EQ(world.Submit("anywhere", 1).state(), Job::PLANNING);
  request.set_job_id("nowhere");
  request.mutable_plan()->set_workers(0, "nobody");
  EXPECT_EQ(world.Submit(request).reason(), "needs 1 device on nobody, there are no workers of that name");
}

TEST(CoreJobsTest, OneWorkerIsPreferredToSeveral) {
  CoreWorld world;
  world.Worker("a", 1);
  world.Worker("b", 2);
  world.Worker("c", 4);
  world.RunningJob("two", 2);
  EXPECT_THAT(world.core->jobs().at("two").workers, ElementsAre("b")) << "the smallest worker that suffices alone";
  world.RunningJob("five", 5);
  EXPECT_THAT(world.core->jobs().at("five").workers, ElementsAre("a", "c"));
}

TEST(CoreJobsTest, DevicesThatThePlanDoesNotUseAreReleased) {
  CoreWorld world;
  world.Worker("a", 4);
  world.Submit("job", 0);
  const PlanTask task = world.TaskOf("job");
  EXPECT_EQ(task.devices.size(), 4u);
  Planned planned = world.PlanOf(task);
  planned.devices.resize(2);
  world.core->OnPlanned("job", task.epoch, planned);
  EXPECT_EQ(world.Submit("next", 2).state(), Job::PLANNING);
}

TEST(CoreJobsTest, TheReasonShowsThePlanningProgress) {
  CoreWorld world;
  world.Worker("a", 4);
  world.Submit("job", 0);
  const PlanTask task = world.TaskOf("job");
  EXPECT_TRUE(world.core->OnPlanning(task, "planning: 3 plans evaluated"));
  EXPECT_EQ(world.Job("job").reason(), "planning: 3 plans evaluated");
  EXPECT_EQ(world.Job("job").state(), Job::PLANNING);
  world.core->OnPlanned("job", task.epoch, absl::InternalError("no"));
  EXPECT_FALSE(world.core->OnPlanning(task, "planning: 4 plans evaluated")) << "the plan is no longer wanted";
  EXPECT_NE(world.Job("job").reason(), "planning: 4 plans evaluated");
}

TEST(CoreJobsTest, APlanOnDevicesThatTheJobDoesNotHoldIsAPlatformFailure) {
  CoreWorld world;
  world.Worker("a", 2);
  world.Submit("job", 1);
  const PlanTask task = world.TaskOf("job");
  for (int device : {1, 99, -1}) {
    Planned planned = world.PlanOf(task);
    planned.devices = {DeviceId(device)};
    world.core->OnPlanned("job", task.epoch, planned);
    EXPECT_EQ(world.Job("job").state(), Job::FAILED);
    EXPECT_EQ(world.Job("job").cause(), Job::PLATFORM);
  }
}

TEST(CoreJobsTest, APlanningErrorSetsTheCause) {
  struct Row {
    absl::string_view word;
    Job::Cause cause;
  };
  for (const Row& row : {Row{reason::kNoFeasiblePlan, Job::USER}, Row{reason::kUnsupportedOp, Job::USER},
                         Row{reason::kInternal, Job::PLATFORM}, Row{reason::kStorage, Job::PLATFORM}}) {
    CoreWorld world;
    world.Worker("a", 1);
    world.Submit("job", 1);
    world.core->OnPlanned("job", world.TaskOf("job").epoch, WithReason(absl::AbortedError("no"), row.word));
    EXPECT_EQ(world.Job("job").state(), Job::FAILED);
    EXPECT_EQ(world.Job("job").error_reason(), row.word);
    EXPECT_EQ(world.Job("job").cause(), row.cause) << row.word;
    EXPECT_EQ(world.Submit("next", 1).state(), Job::PLANNING) << "the failed job's device is free";
  }
}

TEST(CoreJobsTest, WorkersGetTheExecutableInPartsAndAllRanks) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.Submit("job", 2);
  Planned planned = world.PlanOf(world.TaskOf("job"));
  planned.serialized_executable = std::string((5 << 20) / 2, 'e');
  world.core->OnPlanned("job", world.TaskOf("job").epoch, planned);
  for (uint64_t session : {a, b}) {
    const auto& sent = world.actions.sent[session];
    ASSERT_EQ(sent.size(), 3u);
    std::string executable;
    for (size_t i = 0; i < sent.size(); ++i) {
      EXPECT_EQ(sent[i].prepare().last_part(), i == 2);
      EXPECT_LE(sent[i].ByteSizeLong(), (1u << 20) + 1000);
      executable += sent[i].prepare().executable_part();
    }
    EXPECT_EQ(executable, planned.serialized_executable);
    const proto::Prepare& last = sent[2].prepare();
    ASSERT_EQ(last.ranks_size(), 2);
    EXPECT_EQ(last.ranks(0).worker(), "a");
    EXPECT_EQ(last.ranks(1).transport_address(), "transport of b");
    EXPECT_GT(last.transport_epoch(), 0u);
  }
}

TEST(CoreJobsTest, TransportEpochsAreNeverUsedTwice) {
  CoreWorld world;
  std::set<uint64_t> seen;
  for (int start = 0; start < 3; ++start) {
    const uint64_t a = world.Worker("a", 1);
    for (int i = 0; i < 3; ++i) {
      const std::string id = absl::StrCat("job-", start, "-", i);
      world.RunningJob(id, 1);
      EXPECT_TRUE(seen.insert(world.actions.sent[a].back().prepare().transport_epoch()).second);
      ASSERT_TRUE(world.core->Finish(id).ok());
    }
    world.Restart();
  }
}

// ---- End of jobs ----

TEST(CoreJobsTest, AJobCanBeStoppedInAnyState) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.Submit("planning", 1);
  world.Submit("waiting", 1);
  const PlanTask task = world.TaskOf("planning");
  EXPECT_EQ(world.core->Stop("waiting")->state(), Job::STOPPED);
  EXPECT_EQ(world.core->Stop("planning")->state(), Job::STOPPED);
  EXPECT_FALSE(world.core->Wants(task));
  world.core->OnPlanned("planning", task.epoch, world.PlanOf(task));
  EXPECT_EQ(world.Job("planning").state(), Job::STOPPED);
  EXPECT_TRUE(world.actions.sent[a].empty());

  world.Submit("preparing", 1);
  world.Plan("preparing");
  EXPECT_EQ(world.core->Stop("preparing")->state(), Job::STOPPED);
  EXPECT_EQ(world.SentReleases(a, "preparing"), 1);
  world.Prepared(a, "preparing");
  EXPECT_EQ(world.Job("preparing").state(), Job::STOPPED) << "a late answer changes nothing";

  world.RunningJob("running", 1);
  ASSERT_TRUE(world.Steps("running", 1, 5).ok());
  EXPECT_EQ(world.core->Stop("running")->state(), Job::STOPPED);
  EXPECT_EQ(world.SentReleases(a, "running"), 1);
  EXPECT_EQ(world.core->Stop("running")->state(), Job::STOPPED) << "a second stop changes nothing";
  EXPECT_EQ(world.SentReleases(a, "running"), 1);
  const absl::Status after = world.core->ResultsFrom("running", 1, 1).status();
  EXPECT_EQ(ReasonOf(after), reason::kJobEnded);
  EXPECT_EQ(ReasonOf(world.core->GetPlacement("running").status()), reason::kJobEnded);
}

TEST(CoreJobsTest, FinishNeedsARunningJobWithoutStepsInFlight) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  EXPECT_EQ(ReasonOf(world.core->Finish("nobody").status()), reason::kJobNotFound);
  world.Submit("job", 1);
  EXPECT_EQ(ReasonOf(world.core->Finish("job").status()), reason::kJobNotRunning);
  world.Plan("job");
  world.Prepared(a, "job");
  ASSERT_TRUE(world.Steps("job", 1, 1).ok());
  EXPECT_EQ(ReasonOf(world.core->Finish("job").status()), reason::kStepsInFlight);
  world.StepDone(a, "job", 1);
  EXPECT_EQ(world.core->Finish("job")->reason(), "1 step done");
  EXPECT_EQ(world.core->Finish("job")->state(), Job::SUCCEEDED) << "a second finish changes nothing";
  EXPECT_EQ(world.SentReleases(a, "job"), 1);
}

TEST(CoreJobsTest, OnlyEndedJobsCanBeDeleted) {
  CoreWorld world;
  world.Submit("job", 1);
  EXPECT_EQ(ReasonOf(world.core->Delete("job")), reason::kJobNotFinal);
  ASSERT_TRUE(world.core->Stop("job").ok());
  world.store.failure = absl::UnavailableError("disk");
  EXPECT_EQ(ReasonOf(world.core->Delete("job")), reason::kStorage);
  world.store.failure = absl::OkStatus();
  EXPECT_TRUE(world.core->Delete("job").ok());
  EXPECT_EQ(ReasonOf(world.core->GetJob("job").status()), reason::kJobNotFound);
  world.Restart();
  EXPECT_TRUE(world.core->ListJobs().empty());
}

TEST(CoreJobsTest, AnIdleJobIsStoppedUnlessAClientFollowsIt) {
  Limits limits;
  limits.lease = std::chrono::hours(100);
  CoreWorld world(limits);
  world.Worker("a", 2);
  world.RunningJob("idle", 1);
  world.RunningJob("followed", 1);
  world.core->CountStream("followed", 1);
  world.Advance(limits.idle_timeout + seconds(1));
  EXPECT_EQ(world.Job("idle").state(), Job::STOPPED);
  EXPECT_THAT(world.Job("idle").reason(), HasSubstr("no client for"));
  EXPECT_EQ(world.Job("followed").state(), Job::RUNNING);
  world.core->CountStream("followed", -1);
  world.Advance(limits.idle_timeout - seconds(1));
  EXPECT_EQ(world.Job("followed").state(), Job::RUNNING) << "the time starts when the client disconnects";
  world.Advance(seconds(2));
  EXPECT_EQ(world.Job("followed").state(), Job::STOPPED);
}

TEST(CoreJobsTest, AFailureIsReportedEvenIfTheDiskFails) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.RunningJob("job", 1);
  world.store.failure = absl::UnavailableError("disk");
  world.core->OnSessionEnd(a, "killed");
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
  world.store.failure = absl::OkStatus();
  world.Restart();
  EXPECT_EQ(world.Job("job").state(), Job::FAILED) << "the stored job is still RUNNING, so it fails again";
}

TEST(CoreJobsTest, AStartThatADiskErrorPreventsIsRetried) {
  CoreWorld world;
  world.Submit("job", 1);
  world.store.failure = absl::UnavailableError("disk");
  const uint64_t a = world.Worker("a", 1);
  EXPECT_EQ(world.Job("job").state(), Job::PENDING);
  EXPECT_THAT(world.Job("job").reason(), HasSubstr("disk"));
  world.store.failure = absl::OkStatus();
  world.Advance(seconds(1));
  EXPECT_EQ(world.Job("job").state(), Job::PLANNING);
  world.Plan("job");
  world.Prepared(a, "job");
  EXPECT_EQ(world.Job("job").state(), Job::RUNNING);
}

// ---- Restart and drain of the coordinator ----

TEST(CoreJobsTest, AJobWhosePlanningDiedStaysFailedAfterARestart) {
  CoreWorld world;
  world.Worker("a", 1);
  world.Submit("job", 1);
  world.core->OnPlanned("job", world.TaskOf("job").epoch,
                        WithReason(absl::InternalError("the planner crashed"), reason::kInternal));
  for (int start = 0; start < 2; ++start) {
    EXPECT_EQ(world.Job("job").state(), Job::FAILED);
    EXPECT_EQ(world.Job("job").cause(), Job::PLATFORM);
    EXPECT_EQ(world.Job("job").error_reason(), reason::kInternal);
    EXPECT_EQ(world.Job("job").reason(), "the planner crashed");
    world.Restart();
    world.Worker("a", 1);
    EXPECT_TRUE(world.actions.tasks.empty()) << "it is not planned again";
  }
}

TEST(CoreJobsTest, AJobWhosePlanningIsInterruptedTooOftenFails) {
  CoreWorld world;
  world.Worker("a", 2);
  world.Submit("job", 1);
  world.Submit("other", 1);
  for (int attempt = 1; attempt <= 3; ++attempt) {
    EXPECT_EQ(world.Job("job").state(), Job::PLANNING);
    EXPECT_EQ(world.Job("job").planning_attempts(), attempt);
    EXPECT_EQ(world.Job("other").state(), Job::PLANNING);
    world.Plan("other");
    EXPECT_EQ(world.Job("other").planning_attempts(), 0);
    world.Restart();
    EXPECT_EQ(world.Job("job").state(), attempt < 3 ? Job::PENDING : Job::FAILED);
    world.Worker("a", 2);
  }
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
  EXPECT_EQ(world.Job("job").cause(), Job::PLATFORM);
  EXPECT_EQ(world.Job("job").error_reason(), reason::kInternal);
  EXPECT_THAT(world.Job("job").reason(), HasSubstr("planning was interrupted 3 times"));
  EXPECT_EQ(world.Job("other").state(), Job::PLANNING) << "an attempt that ends well resets the number";
  world.Restart();
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
}

TEST(CoreJobsTest, TheAttemptIsStoredBeforePlanningStarts) {
  CoreWorld world;
  world.Worker("a", 1);
  world.Submit("job", 1);
  proto::Job stored;
  ASSERT_TRUE(stored.ParseFromString(world.store.Jobs()->front().job));
  EXPECT_EQ(stored.state(), Job::PLANNING);
  EXPECT_EQ(stored.planning_attempts(), 1);
}

TEST(CoreJobsTest, AnAttemptThatALostWorkerEndsDoesNotCount) {
  CoreWorld world;
  world.Submit("job", 1);
  for (int loss = 0; loss < 5; ++loss) {
    const uint64_t a = world.Worker("a", 1);
    EXPECT_EQ(world.Job("job").state(), Job::PLANNING);
    EXPECT_EQ(world.Job("job").planning_attempts(), 1);
    world.core->OnSessionEnd(a, "killed");
    EXPECT_EQ(world.Job("job").state(), Job::PENDING);
  }
  world.Restart();
  EXPECT_EQ(world.Job("job").state(), Job::PENDING);
}

TEST(CoreJobsTest, AnAttemptThatADiskErrorOrAShutdownPreventsDoesNotCount) {
  CoreWorld world;
  world.Submit("job", 1);
  world.store.failure = absl::UnavailableError("disk");
  world.Worker("a", 1);
  EXPECT_EQ(world.Job("job").state(), Job::PENDING);
  EXPECT_EQ(world.Job("job").planning_attempts(), 0);
  world.store.failure = absl::OkStatus();
  for (int shutdown = 0; shutdown < 5; ++shutdown) {
    world.Advance(seconds(1));
    EXPECT_EQ(world.Job("job").state(), Job::PLANNING);
    EXPECT_EQ(world.Job("job").planning_attempts(), 1);
    world.core->BeginDrain();
    world.core->StopRunning("the coordinator was shut down");
    world.core->OnSessionEnd(world.core->workers().at("a").session, "shut down");
    EXPECT_EQ(world.Job("job").planning_attempts(), 0);
    world.Restart();
    world.Worker("a", 1);
  }
}

TEST(CoreJobsTest, AllAcknowledgedJobsSurviveARestart) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 3);
  world.RunningJob("done", 1);
  ASSERT_TRUE(world.core->Finish("done").ok());
  world.RunningJob("ran", 1);
  ASSERT_TRUE(world.Steps("ran", 1, 1).ok());
  world.StepDone(a, "ran", 1);
  world.Submit("planned", 1);
  world.Plan("planned");
  world.Submit("planning", 1);
  world.Submit("waiting", 3);
  world.Restart();
  EXPECT_THAT(Ids(world.core->ListJobs()), ElementsAre("done", "ran", "planned", "planning", "waiting"));
  EXPECT_EQ(world.Job("done").state(), Job::SUCCEEDED);
  EXPECT_EQ(world.Job("done").plan_text(), "a plan");
  const Job failed = world.Job("ran");
  EXPECT_EQ(failed.state(), Job::FAILED);
  EXPECT_EQ(failed.cause(), Job::INFRASTRUCTURE);
  EXPECT_EQ(failed.reason(), "the coordinator restarted while the job ran");
  for (const char* id : {"planned", "planning", "waiting"}) {
    EXPECT_EQ(world.Job(id).state(), Job::PENDING) << id;
    EXPECT_THAT(world.EventKinds(id), ::testing::Contains("queued again after a restart")) << id;
  }
  world.Worker("a", 3);
  EXPECT_EQ(world.Job("planned").state(), Job::PLANNING);
  EXPECT_EQ(world.Job("planning").state(), Job::PLANNING);
  EXPECT_EQ(world.core->Cluster().cluster_epoch(), 2u);
}

TEST(CoreJobsTest, AnUnreadableRecordPreventsTheStart) {
  FakeClock clock;
  FakeStore store;
  RecordingActions actions;
  ASSERT_TRUE(store.Record({"job", "\xff\xff", "\xff\xff"}, {1, 0, "submitted", ""}).ok());
  Core core({}, "1.0", clock, store, actions);
  const absl::Status status = core.Replay();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("job"));
}

TEST(CoreJobsTest, ADrainRefusesNewWorkAndLetsAcceptedStepsFinish) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.RunningJob("runs", 1);
  world.Submit("waits", 1);
  ASSERT_TRUE(world.Steps("runs", 1, 2).ok());
  world.core->BeginDrain();
  EXPECT_EQ(ReasonOf(world.core->Submit(CoreWorld::Request("new", 1)).status()), reason::kDraining);
  EXPECT_EQ(ReasonOf(world.Steps("runs", 3, 1)), reason::kDraining);
  EXPECT_TRUE(world.core->StepsInFlight());
  world.StepDone(a, "runs", 1);
  world.StepDone(a, "runs", 2);
  EXPECT_FALSE(world.core->StepsInFlight());
  world.core->StopRunning("the coordinator was shut down");
  EXPECT_EQ(world.Job("runs").state(), Job::STOPPED);
  EXPECT_EQ(world.SentReleases(a, "runs"), 1);
  EXPECT_EQ(world.Job("waits").state(), Job::PENDING) << "a draining coordinator starts nothing";
  world.Restart();
  EXPECT_EQ(world.Job("runs").state(), Job::STOPPED);
  EXPECT_EQ(world.Job("waits").state(), Job::PENDING);
}

TEST(CoreJobsTest, TheResultsOfEndedJobsAreBounded) {
  Limits limits;
  limits.results_kept = 4;
  limits.results_kept_of_ended = 5;
  CoreWorld world(limits);
  const uint64_t a = world.Worker("a", 1);
  for (const char* id : {"old", "new"}) {
    world.RunningJob(id, 1);
    ASSERT_TRUE(world.Steps(id, 1, 6).ok());
    for (int step = 1; step <= 6; ++step) world.StepDone(a, id, step);
    EXPECT_EQ(world.core->ResultsFrom(id, 1, 100)->results.front().step(), 3) << "the last four results are kept";
    ASSERT_TRUE(world.core->Finish(id).ok());
  }
  EXPECT_TRUE(world.core->ResultsFrom("old", 1, 100)->results.empty());
  EXPECT_FALSE(world.core->ResultsFrom("old", 1, 100)->more);
  EXPECT_EQ(world.core->ResultsFrom("new", 1, 100)->results.size(), 4u);
}

}  // namespace
}  // namespace alpa::coordinator
