#include "coordinator/rpc/services.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <thread>

#include "base/config.h"
#include "base/log.h"
#include "base/status.h"
#include "coordinator/core/errors.h"
#include "coordinator/rpc/step_stream.h"
#include "proto/job_service.grpc.pb.h"
#include "proto/worker_service.grpc.pb.h"

namespace alpa::coordinator {
namespace {

constexpr int64_t kMaxChunk = 1 << 20;
constexpr int kMaxMessage = 8 << 20;
constexpr int kResultsAtOnce = 256;

template <typename T>
grpc::Status Reply(const absl::StatusOr<T>& result, T* reply, grpc::ServerContext* context) {
  if (result.ok()) *reply = *result;
  return ToGrpc(result.status(), context);
}

class JobServiceImpl : public proto::JobService::WithCallbackMethod_RunSteps<proto::JobService::Service> {
 public:
  explicit JobServiceImpl(Coordinator& coordinator) : coordinator_(coordinator) {}

  grpc::Status UploadProgram(grpc::ServerContext* context, grpc::ServerReader<proto::ProgramChunk>* reader,
                             proto::UploadReply* reply) override {
    proto::ProgramChunk chunk;
    uint64_t hash = 0;
    int64_t total = 0;
    bool first = true;
    while (reader->Read(&chunk)) {
      if (first) hash = chunk.hash(), total = chunk.total_size();
      first = false;
      if (static_cast<int64_t>(chunk.data().size()) > kMaxChunk) {
        return ToGrpc(InvalidArgument("a chunk of %d bytes; the limit is %d", chunk.data().size(), kMaxChunk), context);
      }
      const auto received = coordinator_.programs().Append(hash, total, chunk.offset(), chunk.data());
      if (!received.ok()) return ToGrpc(WithReason(received.status(), "BAD_PROGRAM"), context);
      reply->set_received(*received);
    }
    if (first) return ToGrpc(InvalidArgument("an upload without any chunk"), context);
    reply->set_hash(hash);
    return grpc::Status::OK;
  }

  grpc::Status QueryUpload(grpc::ServerContext* context, const proto::QueryUploadRequest* request,
                           proto::UploadReply* reply) override {
    const auto received = coordinator_.programs().Received(request->hash(), request->total_size());
    if (!received.ok()) return ToGrpc(received.status(), context);
    reply->set_hash(request->hash());
    reply->set_received(*received);
    return grpc::Status::OK;
  }

  grpc::Status Submit(grpc::ServerContext* context, const proto::SubmitRequest* request, proto::Job* reply) override {
    const auto job = coordinator_.With([&](Core& core) { return core.Submit(*request); });
    coordinator_.CountSubmit(absl::StatusCodeToString(job.status().code()));
    return Reply(job, reply, context);
  }
  grpc::Status GetJob(grpc::ServerContext* context, const proto::JobRequest* request, proto::Job* reply) override {
    return Reply(coordinator_.With([&](Core& core) { return core.GetJob(request->job_id()); }), reply, context);
  }
  grpc::Status ListJobs(grpc::ServerContext*, const proto::ListJobsRequest*, proto::ListJobsReply* reply) override {
    for (proto::Job& job : coordinator_.With([](Core& core) { return core.ListJobs(); })) *reply->add_jobs() = std::move(job);
    return grpc::Status::OK;
  }

  grpc::Status WatchJob(grpc::ServerContext* context, const proto::JobRequest* request,
                        grpc::ServerWriter<proto::Job>* writer) override {
    uint64_t seen = coordinator_.changes();
    std::string last;
    for (;;) {
      const auto job = coordinator_.With([&](Core& core) { return core.GetJob(request->job_id()); });
      if (!job.ok()) return ToGrpc(job.status(), context);
      if (std::string now = job->SerializeAsString(); now != last) {
        last = std::move(now);
        if (!writer->Write(*job)) return grpc::Status::OK;
      }
      if (job->state() >= proto::Job::SUCCEEDED) return grpc::Status::OK;
      if (!coordinator_.WaitForChange(&seen, [&] { return context->IsCancelled(); })) return Ended(context);
    }
  }

  grpc::Status StopJob(grpc::ServerContext* context, const proto::JobRequest* request, proto::Job* reply) override {
    return Reply(coordinator_.With([&](Core& core) { return core.Stop(request->job_id()); }), reply, context);
  }
  grpc::Status FinishJob(grpc::ServerContext* context, const proto::JobRequest* request, proto::Job* reply) override {
    return Reply(coordinator_.With([&](Core& core) { return core.Finish(request->job_id()); }), reply, context);
  }
  grpc::Status DeleteJob(grpc::ServerContext* context, const proto::JobRequest* request, proto::DeleteJobReply*) override {
    return ToGrpc(coordinator_.With([&](Core& core) { return core.Delete(request->job_id()); }), context);
  }
  grpc::Status GetPlacement(grpc::ServerContext* context, const proto::JobRequest* request,
                            proto::Placement* reply) override {
    return Reply(coordinator_.With([&](Core& core) { return core.GetPlacement(request->job_id()); }), reply, context);
  }
  grpc::Status GetCluster(grpc::ServerContext*, const proto::ClusterRequest*, proto::ClusterReply* reply) override {
    *reply = coordinator_.With([](Core& core) { return core.Cluster(); });
    return grpc::Status::OK;
  }

  grpc::Status GetEvents(grpc::ServerContext* context, const proto::JobRequest* request,
                         grpc::ServerWriter<proto::JobEvent>* writer) override {
    const auto events = coordinator_.With([&](Core& core) { return core.Events(request->job_id()); });
    if (!events.ok()) return ToGrpc(events.status(), context);
    for (const StoredEvent& event : *events) {
      proto::JobEvent message;
      message.set_sequence(event.sequence);
      message.set_unix_ms(event.unix_ms);
      message.set_kind(event.kind);
      message.set_message(event.message);
      if (!writer->Write(message)) break;
    }
    return grpc::Status::OK;
  }

  grpc::Status WatchSteps(grpc::ServerContext* context, const proto::WatchStepsRequest* request,
                          grpc::ServerWriter<proto::StepResult>* writer) override {
    return SendResults(context, request->job_id(), request->from_step(), [&](const proto::StepResult& result) {
      return writer->Write(result) && (request->until_step() <= 0 || result.step() < request->until_step());
    });
  }

  grpc::ServerBidiReactor<proto::StepCommand, proto::StepResult>* RunSteps(
      grpc::CallbackServerContext* context) override {
    return new StepStream(coordinator_, context);   // deletes itself
  }

 private:
  static grpc::Status Ended(grpc::ServerContext* context) {
    if (context->IsCancelled()) return {grpc::StatusCode::CANCELLED, "cancelled by the client"};
    context->AddTrailingMetadata("alpa-reason", "DRAINING");
    return {grpc::StatusCode::UNAVAILABLE, "the coordinator is shutting down"};
  }

  template <typename Write>
  grpc::Status SendResults(grpc::ServerContext* context, const std::string& job_id, int64_t from, Write write) {
    uint64_t seen = coordinator_.changes();
    int64_t next = std::max<int64_t>(1, from);
    for (;;) {
      const auto results = coordinator_.With([&](Core& core) { return core.ResultsFrom(job_id, next, kResultsAtOnce); });
      if (!results.ok()) return ToGrpc(results.status(), context);
      for (const proto::StepResult& result : results->results) {
        if (!write(result)) return grpc::Status::OK;
        next = result.step() + 1;
      }
      if (!results->results.empty()) continue;
      if (!results->more) return grpc::Status::OK;
      if (!coordinator_.WaitForChange(&seen, [&] { return context->IsCancelled(); })) return Ended(context);
    }
  }

  Coordinator& coordinator_;
};

class WorkerServiceImpl : public proto::WorkerService::Service {
 public:
  explicit WorkerServiceImpl(Coordinator& coordinator) : coordinator_(coordinator) {}

  grpc::Status Session(grpc::ServerContext* context,
                       grpc::ServerReaderWriter<proto::ToWorker, proto::FromWorker>* stream) override {
    proto::FromWorker message;
    if (!stream->Read(&message)) return grpc::Status::OK;
    if (!message.has_register_()) return {grpc::StatusCode::FAILED_PRECONDITION, "a session begins with Register"};
    auto queue = std::make_shared<SessionQueue>();
    const uint64_t session = coordinator_.OpenSession(queue);
    const auto welcome = coordinator_.With([&](Core& core) {
      auto result = core.OnRegister(session, message.register_());
      if (result.ok()) {
        // Before anything that the registration itself has set in motion.
        proto::ToWorker hello;
        *hello.mutable_welcome() = *result;
        stream->Write(hello);
      }
      return result;
    });
    if (!welcome.ok()) {
      coordinator_.CloseSession(session, "refused");
      LogWarning("worker refused: %s", std::string(welcome.status().message()));
      return ToGrpc(welcome.status(), context);
    }
    std::thread writer([&] {
      proto::ToWorker out;
      while (queue->Pop(&out)) {
        if (!stream->Write(out)) break;
      }
      // Closed from this side: wakes the reader below.
      if (!queue->why().ok()) context->TryCancel();
    });
    while (stream->Read(&message)) {
      coordinator_.With([&](Core& core) { core.OnMessage(session, message); });
    }
    const absl::Status ended = queue->why();
    coordinator_.CloseSession(session, ended.ok() ? "its connection ended" : std::string(ended.message()));
    queue->Close(absl::OkStatus());
    writer.join();
    return ended.ok() ? grpc::Status::OK : ToGrpc(ended, context);
  }

 private:
  Coordinator& coordinator_;
};

class RpcServerImpl : public RpcServer {
 public:
  explicit RpcServerImpl(Coordinator& coordinator) : jobs_(coordinator), workers_(coordinator) {}

  absl::Status Start(const std::string& listen) {
    grpc::EnableDefaultHealthCheckService(true);
    if (IsLoopback(listen)) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.SetMaxReceiveMessageSize(kMaxMessage);
    builder.RegisterService(&jobs_);
    builder.RegisterService(&workers_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", listen,
                                                 ": the port is in use, or the address is not this machine's"));
    }
    address_ = absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port);
    return absl::OkStatus();
  }
  const std::string& address() const override { return address_; }
  void Stop(Duration grace) override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::system_clock::duration>(grace));
  }

 private:
  JobServiceImpl jobs_;
  WorkerServiceImpl workers_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> StartRpcServer(Coordinator& coordinator, const std::string& listen) {
  auto server = std::make_unique<RpcServerImpl>(coordinator);
  ALPA_RETURN_IF_ERROR(server->Start(listen));
  return server;
}

}  // namespace alpa::coordinator
