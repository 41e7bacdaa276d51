#include "coordinator/rpc/services.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <thread>
#include <vector>

#include "coordinator/rpc/status_rpc.h"
#include "coordinator/testing/rpc_world.h"

namespace alpa::coordinator {
namespace {

using proto::Job;
using std::chrono::seconds;
using ::testing::HasSubstr;

std::string ReasonIn(const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerTrailingMetadata();
  const auto found = metadata.find("alpa-reason");
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

// Returns a planner that works until its answer is no longer wanted.
Planner EndlessPlanner() {
  const auto work = [](const PlanTask&, absl::string_view, const PlanningProgress& progress) {
    while (progress("")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return absl::CancelledError("no longer wanted");
  };
  return {work, work};
}

class ServicesTest : public ::testing::Test {
 protected:
  explicit ServicesTest(Limits limits = {}, Planner planner = FakePlanner()) : world_(limits, std::move(planner)) {}
  // Uploads a program and submits a job of it.
  grpc::Status Submit(const std::string& id, int devices, const std::string& program = "good") {
    proto::UploadReply reply;
    const uint64_t hash = XXH64(program.data(), program.size(), 0);
    EXPECT_TRUE(world_.Upload(program, hash, &reply).ok());
    proto::SubmitRequest request = CoreWorld::Request(id, devices);
    request.set_program_hash(hash);
    grpc::ClientContext context;
    Job job;
    return world_.jobs->Submit(&context, request, &job);
  }
  proto::StepCommand Command(const std::string& id, int64_t first, int64_t count) {
    proto::StepCommand command;
    command.set_job_id(id);
    command.set_epoch(world_.Get(id).epoch());
    command.set_first_step(first);
    command.set_count(count);
    command.set_batch_slots(1);
    return command;
  }
  RpcWorld world_;
};

TEST_F(ServicesTest, AJobRunsFromUploadToFinish) {
  HandWorker worker(world_, "a", 1);
  EXPECT_EQ(worker.Receive(proto::ToWorker::kWelcome).welcome().device_ids_size(), 1);
  ASSERT_TRUE(Submit("job", 1).ok());
  worker.AnswerPrepare();
  EXPECT_EQ(world_.WaitFor("job", Job::RUNNING).state(), Job::RUNNING);

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(20));
  auto stream = world_.jobs->RunSteps(&context);
  ASSERT_TRUE(stream->Write(Command("job", 1, 1)));
  ASSERT_TRUE(stream->Write(Command("job", 2, 30)));
  std::thread player([&] {
    while (worker.AnswerSteps() < 31) {
    }
  });
  proto::StepResult result;
  for (int64_t step = 1; step <= 31; ++step) {
    ASSERT_TRUE(stream->Read(&result)) << step;
    EXPECT_EQ(result.step(), step);
  }
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&result));
  EXPECT_TRUE(stream->Finish().ok());

  grpc::ClientContext finish;
  proto::JobRequest request;
  request.set_job_id("job");
  Job job;
  EXPECT_TRUE(world_.jobs->FinishJob(&finish, request, &job).ok());
  EXPECT_EQ(job.last_loss(), 31.0);
  player.join();

  grpc::ClientContext again;  // kept results can be read after the job has ended
  proto::WatchStepsRequest watch;
  watch.set_job_id("job");
  watch.set_from_step(30);
  const auto reader = world_.jobs->WatchSteps(&again, watch);
  std::vector<int64_t> steps;
  while (reader->Read(&result)) steps.push_back(result.step());
  EXPECT_THAT(steps, ::testing::ElementsAre(30, 31));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ServicesTest, AStepStreamEndsWithTheJobsFailureWhileTheClientIsSilent) {
  HandWorker worker(world_, "a", 1);
  ASSERT_TRUE(Submit("job", 1).ok());
  worker.AnswerPrepare();
  ASSERT_EQ(world_.WaitFor("job", Job::RUNNING).state(), Job::RUNNING);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(20));
  auto stream = world_.jobs->RunSteps(&context);
  ASSERT_TRUE(stream->Write(Command("job", 1, 1)));
  worker.Receive(proto::ToWorker::kRunStep);
  worker.Kill();
  proto::StepResult result;
  EXPECT_FALSE(stream->Read(&result));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_THAT(status.error_message(), HasSubstr("worker a was lost"));
  EXPECT_EQ(ReasonIn(context), "JOB_FAILED");
}

TEST_F(ServicesTest, AWrongCommandEndsTheStreamWithItsReason) {
  HandWorker worker(world_, "a", 1);
  ASSERT_TRUE(Submit("job", 1).ok());
  worker.AnswerPrepare();
  ASSERT_EQ(world_.WaitFor("job", Job::RUNNING).state(), Job::RUNNING);
  struct Row {
    proto::StepCommand command;
    const char* reason;
  };
  proto::StepCommand nothing;
  for (const Row& row : {Row{Command("job", 7, 1), "STALE_STATE"}, Row{Command("nobody", 1, 1), "JOB_NOT_FOUND"},
                         Row{Command("job", 1, 0), "BAD_REQUEST"}, Row{nothing, "BAD_REQUEST"}}) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + seconds(20));
    auto stream = world_.jobs->RunSteps(&context);
    stream->Write(row.command);
    proto::StepResult result;
    EXPECT_FALSE(stream->Read(&result));
    EXPECT_FALSE(stream->Finish().ok());
    EXPECT_EQ(ReasonIn(context), row.reason);
  }
  EXPECT_EQ(world_.Get("job").state(), Job::RUNNING);
}

TEST_F(ServicesTest, ABadProgramFailsItsJobEvenWhileItWaits) {
  ASSERT_TRUE(Submit("waits", 1, "bad").ok());
  EXPECT_EQ(world_.WaitFor("waits", Job::FAILED).error_reason(), "BAD_PROGRAM");
  HandWorker worker(world_, "a", 1);
  worker.Receive(proto::ToWorker::kWelcome);
  ASSERT_TRUE(Submit("runs", 1, "bad").ok());
  EXPECT_EQ(world_.WaitFor("runs", Job::FAILED).cause(), Job::USER);
}

TEST_F(ServicesTest, UploadsAreChecked) {
  proto::UploadReply reply;
  EXPECT_EQ(world_.Upload("program", 12345, &reply).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(world_.Upload(std::string((1 << 20) + 1, 'x'), 1, &reply).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(world_.Upload("", 1, &reply).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  grpc::ClientContext context;
  proto::QueryUploadRequest query;
  query.set_hash(12345);
  query.set_total_size(7);
  ASSERT_TRUE(world_.jobs->QueryUpload(&context, query, &reply).ok());
  EXPECT_EQ(reply.received(), 0);
}

TEST_F(ServicesTest, ASessionMustBeginWithAValidRegistration) {
  HandWorker first(world_, "a", 1);
  first.Receive(proto::ToWorker::kWelcome);
  HandWorker second(world_, "a", 1);
  EXPECT_EQ(second.End().error_code(), grpc::StatusCode::ALREADY_EXISTS);
  proto::Register old = CoreWorld::Registration("b", 1);
  old.set_version("0.1");
  HandWorker third(world_, old);
  EXPECT_EQ(third.End().error_code(), grpc::StatusCode::FAILED_PRECONDITION);

  const auto stub = proto::WorkerService::NewStub(world_.channel);
  grpc::ClientContext context;
  auto stream = stub->Session(&context);
  proto::FromWorker message;
  message.mutable_heartbeat();
  stream->Write(message);
  proto::ToWorker reply;
  EXPECT_FALSE(stream->Read(&reply));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServicesTest, TheStreamOfASilentWorkerIsClosed) {
  Limits limits;
  limits.lease = std::chrono::milliseconds(500);
  RpcWorld world(limits);
  HandWorker worker(world, "a", 1);
  worker.Receive(proto::ToWorker::kWelcome);
  EXPECT_EQ(worker.Receive(proto::ToWorker::kDrain).message_case(), proto::ToWorker::MESSAGE_NOT_SET)
      << "the stream ends";
  EXPECT_FALSE(world.coordinator->With([](Core& core) { return core.workers().at("a").up; }));
}

TEST_F(ServicesTest, ErrorsHaveAReasonAndFitIntoHeaders) {
  grpc::ClientContext context;
  proto::JobRequest request;
  std::string name;
  while (name.size() < 100'000) name += "\u20ac";
  request.set_job_id(name);
  Job job;
  const grpc::Status status = world_.jobs->GetJob(&context, request, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonIn(context), "JOB_NOT_FOUND");

  grpc::ServerContext server;
  const std::string message = ToGrpc(absl::InternalError(name), &server).error_message();
  EXPECT_LT(message.size(), 2100u) << "each byte of it takes three bytes on the wire";
  EXPECT_THAT(message, HasSubstr("\u20ac"));
}

TEST_F(ServicesTest, StreamsEndWhenTheCoordinatorShutsDown) {
  ASSERT_TRUE(Submit("waits", 1).ok());
  grpc::ClientContext context;
  proto::JobRequest request;
  request.set_job_id("waits");
  const auto reader = world_.jobs->WatchJob(&context, request);
  Job job;
  ASSERT_TRUE(reader->Read(&job));
  world_.coordinator->Shutdown();
  while (reader->Read(&job)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonIn(context), "DRAINING");
}

class EndlessPlanningTest : public ServicesTest {
 protected:
  EndlessPlanningTest() : ServicesTest({.planning_timeout = std::chrono::milliseconds(300)}, EndlessPlanner()) {}
};

TEST_F(EndlessPlanningTest, ShutdownDoesNotWaitForPlansAndKeepsTheirJobs) {
  HandWorker worker(world_, "a", 2);
  worker.Receive(proto::ToWorker::kWelcome);
  for (const char* id : {"one", "two"}) ASSERT_TRUE(Submit(id, 1).ok());
  world_.coordinator->Shutdown();  // would never return if it waited for the plans
  world_.coordinator->With([](Core& core) {
    // The end of the worker's session may already have queued the jobs again.
    for (const char* id : {"one", "two"}) EXPECT_LE(core.GetJob(id)->state(), Job::PLANNING) << id;
  });
}

TEST_F(EndlessPlanningTest, NoCheckAndNoPlanTakesAPlanningThreadForEver) {
  // There is no worker, so these programs are only checked. There are two planning threads.
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(Submit(id, 1).ok());
  for (const char* id : {"a", "b", "c"}) {
    const Job job = world_.WaitFor(id, Job::FAILED);
    EXPECT_EQ(job.state(), Job::FAILED);
    EXPECT_EQ(job.cause(), Job::PLATFORM);
    EXPECT_THAT(job.reason(), HasSubstr("checking the program took"));
  }
  HandWorker worker(world_, "a", 2);
  worker.Receive(proto::ToWorker::kWelcome);
  ASSERT_TRUE(Submit("d", 1).ok());
  EXPECT_THAT(world_.WaitFor("d", Job::FAILED).reason(), HasSubstr("no plan was found within"));
}

TEST_F(ServicesTest, TheNumberOfStreamsIsBounded) {
  std::vector<std::unique_ptr<Watch>> watches;
  for (;;) {
    auto watch = Watch::Open(*world_.coordinator);
    if (!watch.ok()) {
      EXPECT_EQ(ReasonOf(watch.status()), reason::kTooManyStreams);
      break;
    }
    watches.push_back(*std::move(watch));
    ASSERT_LE(watches.size(), 5000u);
  }
  grpc::ClientContext context;
  proto::JobRequest request;
  request.set_job_id("any");
  const auto reader = world_.jobs->WatchJob(&context, request);
  Job job;
  EXPECT_FALSE(reader->Read(&job));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  grpc::ClientContext steps;
  auto stream = world_.jobs->RunSteps(&steps);
  proto::StepResult result;
  EXPECT_FALSE(stream->Read(&result));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  watches.clear();
  EXPECT_TRUE(Watch::Open(*world_.coordinator).ok());
}

TEST_F(ServicesTest, APortInUseGivesAClearError) {
  const auto second = StartRpcServer(*world_.coordinator, world_.server->address());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(world_.server->address()));
}

}  // namespace
}  // namespace alpa::coordinator
