#include "client/lib/outcome.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/lib/run_job.h"

namespace alpa::client {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST(OutcomeTest, EachErrorHasItsExitCode) {
  const struct {
    absl::Status status;
    const char* reason;
    int code;
  } rows[] = {
      {absl::OkStatus(), "", kExitDone},
      {absl::AbortedError(""), "JOB_FAILED", kExitJobFailed},
      {absl::AbortedError(""), "JOB_ENDED", kExitJobFailed},
      {absl::CancelledError(""), kReasonJobStopped, kExitJobFailed},
      {absl::InvalidArgumentError(""), kReasonUsage, kExitUsage},
      {absl::UnavailableError(""), "", kExitUnreachable},
      {absl::DeadlineExceededError(""), "", kExitUnreachable},
      {absl::UnavailableError(""), kReasonNoWorker, kExitUnreachable},
      {absl::UnavailableError(""), kReasonNoDaemon, kExitUnreachable},
      {absl::UnavailableError(""), "DRAINING", kExitRefused},
      {absl::InvalidArgumentError(""), "BAD_REQUEST", kExitRefused},
      {absl::AlreadyExistsError(""), "JOB_EXISTS", kExitRefused},
      {absl::UnimplementedError(""), "UNSUPPORTED_OP", kExitRefused},
      {absl::AbortedError(""), "UNSUPPORTED_OP", kExitRefused},  // the reason word comes from a failed job
      {absl::AbortedError(""), "BAD_PROGRAM", kExitRefused},
      {absl::AbortedError(""), "BAD_PLAN", kExitRefused},
      {absl::InternalError(""), "", kExitRefused},
      {absl::NotFoundError(""), "JOB_NOT_FOUND", kExitNotFound},
      {absl::NotFoundError(""), "", kExitNotFound},
      {absl::DeadlineExceededError(""), kReasonWaitTimedOut, kExitTimedOut},
      {absl::AbortedError(""), "NO_FEASIBLE_PLAN", kExitNoPlan},
      {absl::CancelledError(""), kReasonInterrupted, kExitInterrupted},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(ExitCodeOf(WithReason(row.status, row.reason)), row.code) << row.status << " " << row.reason;
  }
}

TEST(OutcomeTest, StatusOfJobSaysWhyTheJobEnded) {
  proto::Job job;
  job.set_job_id("j");
  for (auto state : {proto::Job::PENDING, proto::Job::RUNNING, proto::Job::SUCCEEDED}) {
    job.set_state(state);
    EXPECT_TRUE(StatusOfJob(job).ok());
    EXPECT_EQ(IsFinal(state), state == proto::Job::SUCCEEDED);
  }
  job.set_state(proto::Job::FAILED);
  job.set_reason("out of memory");
  job.set_cause(proto::Job::INFRASTRUCTURE);
  job.set_failed_worker("w1");
  job.set_failed_op("%dot.1");
  EXPECT_EQ(StatusOfJob(job).message(), "job j failed (cause: INFRASTRUCTURE) on worker w1 at %dot.1: out of memory");
  EXPECT_EQ(ExitCodeOf(StatusOfJob(job)), kExitJobFailed);
  job.set_error_reason("NO_FEASIBLE_PLAN");
  EXPECT_EQ(ExitCodeOf(StatusOfJob(job)), kExitNoPlan);
  job.set_state(proto::Job::STOPPED);
  EXPECT_EQ(ExitCodeOf(StatusOfJob(job)), kExitJobFailed);
  EXPECT_EQ(ReasonOf(StatusOfJob(job)), kReasonJobStopped);
}

TEST(OutcomeTest, NextStepNamesAnAddressThatIsNotTheDefault) {
  const absl::Status missing = WithReason(absl::NotFoundError("no job"), "JOB_NOT_FOUND");
  EXPECT_THAT(NextStep(missing, kDefaultAddress), ::testing::EndsWith("alpa list"));
  EXPECT_THAT(NextStep(missing, "h:1"), ::testing::EndsWith("alpa list --address h:1"));
  EXPECT_THAT(NextStep(absl::UnavailableError(""), "h:1"), HasSubstr("alpa-coordinator --listen h:1"));
  EXPECT_EQ(NextStep(absl::OkStatus(), "h:1"), "");
}

TEST(OutcomeTest, NewJobIdsAreValidAndDifferent) {
  for (const char* id : {"a", "0", "night-3", "-"}) EXPECT_TRUE(IsJobId(id)) << id;
  for (const char* id : {"", "A", "a b", "a_b", "\xc3\xa4", "a\n"}) EXPECT_FALSE(IsJobId(id)) << id;
  EXPECT_TRUE(IsJobId(std::string(63, 'x')));
  EXPECT_FALSE(IsJobId(std::string(64, 'x')));
  EXPECT_THAT(NewJobId("GPT  step (2)"), MatchesRegex("gpt-step-2-[0-9a-f]+"));
  for (const char* name : {"", "   ", "\xc3\xa4", "---", "<lambda>"}) EXPECT_TRUE(IsJobId(NewJobId(name))) << name;
  EXPECT_TRUE(IsJobId(NewJobId(std::string(500, 'n'))));
  EXPECT_NE(NewJobId("a"), NewJobId("a"));
}

}  // namespace
}  // namespace alpa::client
