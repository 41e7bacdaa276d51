// A coordinator behind a real gRPC server on loopback, with a fake planner, and a worker that the test drives by hand.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "coordinator/rpc/coordinator.h"
#include "coordinator/rpc/services.h"
#include "coordinator/store/fake_store.h"
#include "coordinator/testing/core_world.h"
#include "coordinator/testing/temp_dir.h"
#include "proto/job_service.grpc.pb.h"
#include "proto/worker_service.grpc.pb.h"

namespace alpa::coordinator {

// Returns a planner that answers at once. Its plans use all devices of the task. It refuses the program "bad".
inline Planner FakePlanner() {
  const auto check = [](const PlanTask&, absl::string_view program, const PlanningProgress&) -> absl::Status {
    if (program != "bad") return absl::OkStatus();
    return WithReason(absl::InvalidArgumentError("the program is bad"), reason::kBadProgram);
  };
  const auto plan = [check](const PlanTask& task, absl::string_view program,
                            const PlanningProgress& progress) -> absl::StatusOr<Planned> {
    if (absl::Status status = check(task, program, progress); !status.ok()) return status;
    Planned planned = CoreWorld::PlanOf(task);
    planned.phase_seconds["plan"] = 0.01;
    return planned;
  };
  return {plan, check};
}

class RpcWorld {
 public:
  explicit RpcWorld(Limits limits = {}, Planner planner = FakePlanner()) {
    auto programs = ProgramStore::Open(directory_.path());
    EXPECT_TRUE(programs.ok());
    coordinator = std::make_unique<Coordinator>(limits, "1.0", std::make_unique<FakeStore>(), *std::move(programs),
                                                std::move(planner));
    EXPECT_TRUE(coordinator->Start().ok());
    auto started = StartRpcServer(*coordinator, "127.0.0.1:0");
    EXPECT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    channel = grpc::CreateChannel(server->address(), grpc::InsecureChannelCredentials());
    jobs = proto::JobService::NewStub(channel);
  }
  ~RpcWorld() {
    coordinator->Shutdown();
    server->Stop(std::chrono::milliseconds(100));
  }

  std::unique_ptr<Coordinator> coordinator;
  std::unique_ptr<RpcServer> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<proto::JobService::Stub> jobs;

  // Uploads the program in one chunk. Sets `reply` on success.
  grpc::Status Upload(const std::string& program, uint64_t hash, proto::UploadReply* reply) {
    grpc::ClientContext context;
    auto writer = jobs->UploadProgram(&context, reply);
    proto::ProgramChunk chunk;
    chunk.set_hash(hash);
    chunk.set_total_size(static_cast<int64_t>(program.size()));
    chunk.set_data(program);
    writer->Write(chunk);
    writer->WritesDone();
    return writer->Finish();
  }
  proto::Job Get(const std::string& id) {
    grpc::ClientContext context;
    proto::JobRequest request;
    request.set_job_id(id);
    proto::Job job;
    jobs->GetJob(&context, request, &job);
    return job;
  }
  // Waits until the job is in `state` or in a final state, at most 20 s. Returns the job after the wait.
  proto::Job WaitFor(const std::string& id, proto::Job::State state) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    proto::JobRequest request;
    request.set_job_id(id);
    const auto reader = jobs->WatchJob(&context, request);
    proto::Job job;
    while (reader->Read(&job) && job.state() != state && job.state() < proto::Job::SUCCEEDED) {
    }
    context.TryCancel();
    return job;
  }

 private:
  TempDir directory_;
};

// The worker's side of a session. The test sends and receives each message.
class HandWorker {
 public:
  HandWorker(RpcWorld& world, const std::string& name, int devices)
      : HandWorker(world, CoreWorld::Registration(name, devices)) {}
  HandWorker(RpcWorld& world, const proto::Register& registration)
      : stub_(proto::WorkerService::NewStub(world.channel)) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    stream_ = stub_->Session(&context_);
    proto::FromWorker hello;
    *hello.mutable_register_() = registration;
    Send(hello);
  }
  ~HandWorker() {
    if (stream_ != nullptr) End();
  }

  void Send(const proto::FromWorker& message) { stream_->Write(message); }
  // Returns the next message of this kind and drops all messages before it. Returns an empty message at the end of the
  // stream.
  proto::ToWorker Receive(proto::ToWorker::MessageCase kind) {
    proto::ToWorker message;
    while (stream_->Read(&message)) {
      if (message.message_case() == kind) return message;
    }
    return {};
  }
  void AnswerPrepare() {
    const proto::ToWorker order = Receive(proto::ToWorker::kPrepare);
    EXPECT_TRUE(order.prepare().last_part());
    proto::FromWorker answer;
    answer.mutable_prepared()->set_job_id(order.prepare().job_id());
    answer.mutable_prepared()->set_epoch(order.prepare().epoch());
    Send(answer);
  }
  // Receives the next RunStep, reports all its steps as done, with loss s for step s, and returns the last step.
  int64_t AnswerSteps() {
    const proto::ToWorker order = Receive(proto::ToWorker::kRunStep);
    const proto::RunStep& run = order.run_step();
    for (int64_t step = run.first_step(); step < run.first_step() + run.count(); ++step) {
      proto::FromWorker answer;
      answer.mutable_step_done()->set_job_id(run.job_id());
      answer.mutable_step_done()->set_epoch(run.epoch());
      answer.mutable_step_done()->set_step(step);
      const auto loss = static_cast<float>(step);
      answer.mutable_step_done()->add_scalars()->mutable_data()->assign(reinterpret_cast<const char*>(&loss),
                                                                        sizeof(loss));
      Send(answer);
    }
    return run.first_step() + run.count() - 1;
  }
  grpc::Status End() {
    stream_->WritesDone();
    proto::ToWorker message;
    while (stream_->Read(&message)) {
    }
    const grpc::Status status = stream_->Finish();
    stream_.reset();
    return status;
  }
  void Kill() { context_.TryCancel(); }

 private:
  std::unique_ptr<proto::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<proto::FromWorker, proto::ToWorker>> stream_;
};

}  // namespace alpa::coordinator
