#include "coordinator/testing/core_world.h"

namespace alpa::coordinator {
namespace {

using proto::Job;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(CoreStepsTest, AStepIsDoneWhenAllWorkersHaveReportedIt) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.RunningJob("job", 2);
  ASSERT_TRUE(world.Steps("job", 1, 1).ok());
  EXPECT_THAT(world.SentSteps(a), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(world.SentSteps(b), ElementsAre(Pair(1, 1)));
  world.clock.Advance(milliseconds(30));
  world.StepDone(b, "job", 1, 0.5f);
  EXPECT_EQ(world.Job("job").steps_done(), 0);
  world.StepDone(b, "job", 1, 0.5f);
  EXPECT_EQ(world.Job("job").steps_done(), 0) << "a second report from one worker changes nothing";
  world.clock.Advance(milliseconds(10));
  world.StepDone(a, "job", 1, 0.7f);
  EXPECT_EQ(world.Job("job").steps_done(), 1);
  const auto results = world.core->ResultsFrom("job", 1, 10);
  ASSERT_TRUE(results.ok());
  ASSERT_EQ(results->results.size(), 1u);
  EXPECT_DOUBLE_EQ(results->results[0].seconds(), 0.04);
  EXPECT_EQ(results->results[0].scalars_size(), 1) << "the first value that is reported for an output counts";
  EXPECT_FLOAT_EQ(static_cast<float>(world.Job("job").last_loss()), 0.5f);
  EXPECT_DOUBLE_EQ(world.Job("job").median_step_seconds(), 0.04);
  EXPECT_TRUE(world.core->ResultsFrom("job", 2, 10)->more);
}

TEST(CoreStepsTest, ResultsComeInOrderWhicheverWorkerIsAhead) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.RunningJob("job", 2);
  ASSERT_TRUE(world.Steps("job", 1, 3).ok());
  for (int step : {1, 2, 3}) world.StepDone(a, "job", step);
  world.StepDone(b, "job", 2);
  EXPECT_EQ(world.Job("job").steps_done(), 0) << "a worker reports steps in order, so this report is dropped";
  world.StepDone(b, "job", 1);
  EXPECT_EQ(world.Job("job").steps_done(), 1);
  world.StepDone(b, "job", 2);
  world.StepDone(b, "job", 3);
  world.StepDone(b, "job", 4);
  EXPECT_EQ(world.Job("job").steps_done(), 3) << "no client asked for a fourth step";
  EXPECT_TRUE(world.core->jobs().at("job").partial.empty());
}

TEST(CoreStepsTest, OnlyTheNextStepOfTheCurrentEpochIsAccepted) {
  CoreWorld world;
  world.Worker("a", 1);
  EXPECT_EQ(ReasonOf(world.core->RunSteps({})), reason::kJobNotFound);
  world.Submit("job", 1);
  EXPECT_EQ(ReasonOf(world.Steps("job", 1, 1)), reason::kJobNotRunning);
  ASSERT_TRUE(world.core->Stop("job").ok());
  EXPECT_EQ(ReasonOf(world.Steps("job", 1, 1)), reason::kJobEnded);
  world.RunningJob("runs", 1);
  EXPECT_EQ(ReasonOf(world.Steps("runs", 2, 1)), reason::kStaleState);
  ASSERT_TRUE(world.Steps("runs", 1, 2).ok());
  EXPECT_EQ(ReasonOf(world.Steps("runs", 2, 1)), reason::kStaleState);
  proto::StepCommand command = world.Command("runs", 3, 1);
  command.set_epoch(9);
  EXPECT_EQ(ReasonOf(world.core->RunSteps(command)), reason::kStaleState);
  for (int64_t count : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(ReasonOf(world.Steps("runs", 3, count)), reason::kBadRequest) << count;
  }
  for (auto [first, slots] : {std::pair(-1, 1), std::pair(0, 0), std::pair(1000, 100), std::pair(0, INT32_MAX),
                              std::pair(INT32_MAX, INT32_MAX)}) {
    command = world.Command("runs", 3, 1);
    command.set_first_batch_slot(first);
    command.set_batch_slots(slots);
    EXPECT_EQ(ReasonOf(world.core->RunSteps(command)), reason::kBadRequest) << first << " " << slots;
  }
  EXPECT_TRUE(world.Steps("runs", 3, 1).ok());
}

TEST(CoreStepsTest, ALongCommandIsNotSplit) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.RunningJob("job", 1);
  proto::StepCommand command = world.Command("job", 1, 1000);
  command.set_first_batch_slot(40);
  command.set_batch_slots(7);
  ASSERT_TRUE(world.core->RunSteps(command).ok());
  // If the core split the command, the workers would let clients overwrite batches that later steps of the command
  // need.
  EXPECT_THAT(world.SentSteps(a), ElementsAre(Pair(1, 1000)));
  EXPECT_EQ(world.actions.sent[a].back().run_step().first_batch_slot(), 40);
  EXPECT_EQ(world.actions.sent[a].back().run_step().batch_slots(), 7);
  EXPECT_EQ(ReasonOf(world.Steps("job", 1001, 1)), reason::kBusy);
  for (int step = 1; step <= 1000; ++step) world.StepDone(a, "job", step);
  EXPECT_EQ(world.Job("job").steps_done(), 1000);
  EXPECT_TRUE(world.core->jobs().at("job").commands.empty());
  EXPECT_TRUE(world.Steps("job", 1001, 1).ok());
}

TEST(CoreStepsTest, AStepsTimeStartsAtItsDispatchOrAtTheEndOfThePreviousStep) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.RunningJob("job", 1);
  ASSERT_TRUE(world.Steps("job", 1, 2).ok());
  world.clock.Advance(milliseconds(10));
  ASSERT_TRUE(world.Steps("job", 3, 1).ok());
  world.StepDone(a, "job", 1);
  world.clock.Advance(milliseconds(5));
  world.StepDone(a, "job", 2);
  world.clock.Advance(milliseconds(7));
  world.StepDone(a, "job", 3);
  world.clock.Advance(seconds(1));
  ASSERT_TRUE(world.Steps("job", 4, 1).ok());
  world.clock.Advance(milliseconds(3));
  world.StepDone(a, "job", 4);
  const auto results = world.core->ResultsFrom("job", 1, 10);
  ASSERT_TRUE(results.ok());
  std::vector<double> took;
  for (const proto::StepResult& result : results->results) took.push_back(result.seconds());
  EXPECT_THAT(took, ElementsAre(0.010, 0.005, 0.007, 0.003));
}

TEST(CoreStepsTest, AWorkerThatIsFarAheadUsesBoundedMemory) {
  Limits limits;
  limits.results_kept = 10;
  CoreWorld world(limits);
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.RunningJob("job", 2);
  ASSERT_TRUE(world.Steps("job", 1, 1000).ok());
  for (int step = 1; step <= 1000; ++step) world.StepDone(a, "job", step);
  EXPECT_EQ(world.core->jobs().at("job").partial.size(), 10u);
  for (int step = 1; step <= 1000; ++step) world.StepDone(b, "job", step);
  EXPECT_EQ(world.Job("job").steps_done(), 1000);
}

TEST(CoreStepsTest, ACommandBeyondTheLimitOfStepsInFlightMustWait) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.RunningJob("job", 1);
  for (int step = 1; step <= 16; ++step) ASSERT_TRUE(world.Steps("job", step, 1).ok());
  EXPECT_EQ(ReasonOf(world.Steps("job", 17, 1)), reason::kBusy);
  world.StepDone(a, "job", 1);
  EXPECT_TRUE(world.Steps("job", 17, 1).ok());
}

TEST(CoreStepsTest, TheWatchdogFailsTheJobOfAStuckStep) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1), b = world.Worker("b", 1);
  world.RunningJob("job", 2);
  ASSERT_TRUE(world.Steps("job", 1, 2).ok());
  const auto pass = [&](Duration time) {
    for (Duration at{0}; at < time; at += seconds(1)) {
      world.Heartbeat(a);
      world.Heartbeat(b);
      world.Advance(seconds(1));
    }
  };
  pass(seconds(29));
  world.StepDone(a, "job", 1);
  world.StepDone(b, "job", 1);
  world.StepDone(a, "job", 2);
  EXPECT_EQ(world.Job("job").state(), Job::RUNNING);
  pass(seconds(30));
  EXPECT_EQ(world.Job("job").state(), Job::RUNNING) << "a median of 29 s allows 290 s";
  pass(seconds(270));
  const Job job = world.Job("job");
  EXPECT_EQ(job.state(), Job::FAILED);
  EXPECT_EQ(job.cause(), Job::INFRASTRUCTURE);
  EXPECT_EQ(job.failed_worker(), "b");
  EXPECT_THAT(job.reason(), HasSubstr("step 2 made no progress for"));
}

TEST(CoreStepsTest, TheFirstStepMayTakeAsLongAsTheWatchdogFloor) {
  Limits limits;
  limits.watchdog_floor = seconds(5);
  limits.lease = std::chrono::hours(1);
  CoreWorld world(limits);
  world.Worker("a", 1);
  world.RunningJob("job", 1);
  world.Advance(seconds(60));
  ASSERT_TRUE(world.Steps("job", 1, 1).ok());
  world.Advance(seconds(5));
  EXPECT_EQ(world.Job("job").state(), Job::RUNNING);
  world.Advance(seconds(1));
  EXPECT_EQ(world.Job("job").state(), Job::FAILED);
}

TEST(CoreStepsTest, AfterAFailureStepsAreRefusedWithTheCause) {
  CoreWorld world;
  const uint64_t a = world.Worker("a", 1);
  world.RunningJob("job", 1);
  ASSERT_TRUE(world.Steps("job", 1, 3).ok());
  world.StepDone(a, "job", 1);
  world.core->OnSessionEnd(a, "killed");
  EXPECT_EQ(world.core->ResultsFrom("job", 1, 10)->results.size(), 1u) << "results of done steps can still be read";
  const absl::Status after = world.core->ResultsFrom("job", 2, 10).status();
  EXPECT_EQ(after.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(after), reason::kJobFailed);
  EXPECT_THAT(std::string(after.message()), HasSubstr("worker a was lost: killed"));
  EXPECT_EQ(ReasonOf(world.Steps("job", 4, 1)), reason::kJobFailed);
  EXPECT_FALSE(world.core->StepsInFlight());
}

TEST(CoreStepsTest, ThePlacementNamesWorkersAndDevices) {
  CoreWorld world;
  world.Worker("a", 2);
  world.Submit("job", 2);
  EXPECT_EQ(ReasonOf(world.core->GetPlacement("job").status()), reason::kJobNotRunning);
  world.Plan("job");
  world.Prepared(1, "job");
  const auto placement = world.core->GetPlacement("job");
  ASSERT_TRUE(placement.ok());
  EXPECT_EQ(placement->epoch(), world.Job("job").epoch());
  ASSERT_EQ(placement->workers_size(), 1);
  EXPECT_EQ(placement->workers(0).tensor_address(), "host:1");
  EXPECT_THAT(placement->workers(0).devices(), ElementsAre(0, 1));
}

}  // namespace
}  // namespace alpa::coordinator
