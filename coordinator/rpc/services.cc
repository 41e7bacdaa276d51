#include "coordinator/rpc/services.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <utility>

#include "base/config.h"
#include "base/status.h"
#include "coordinator/core/errors.h"
#include "coordinator/rpc/session.h"
#include "coordinator/rpc/status_rpc.h"
#include "coordinator/rpc/step_stream.h"
#include "coordinator/rpc/watch.h"
#include "proto/job_service.grpc.pb.h"
#include "proto/worker_service.grpc.pb.h"

namespace alpa::coordinator {
namespace {

constexpr int64_t kMaxChunk = 1 << 20;  // maximum bytes of a program per ProgramChunk
constexpr int kMaxMessage = 4 << 20;    // maximum bytes per received gRPC message
constexpr int kMaxThreads = 2500;       // maximum number of gRPC's threads; each stream may hold two
constexpr int kResultsAtOnce = 256;     // maximum number of step results copied while the lock is held
// The minimum time between two messages that only report new steps. Also the longest time that a stream waits without a
// wake-up.
constexpr std::chrono::milliseconds kWatchInterval{200};

template <typename T>
grpc::Status Reply(const absl::StatusOr<T>& result, T* reply, grpc::ServerContext* context) {
  if (result.ok()) *reply = *result;
  return ToGrpc(result.status(), context);
}

absl::Status UploadError(const absl::Status& status) {
  return WithReason(status, absl::IsUnavailable(status) ? reason::kStorage : reason::kBadProgram);
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
        return ToGrpc(InvalidArgument("the chunk has %d bytes; the limit is %d", chunk.data().size(), kMaxChunk),
                      context);
      }
      const auto received = coordinator_.programs().Append(hash, total, chunk.offset(), chunk.data());
      if (!received.ok()) return ToGrpc(UploadError(received.status()), context);
      reply->set_received(*received);
    }
    if (first) return ToGrpc(InvalidArgument("the upload has no chunks; send at least one"), context);
    reply->set_hash(hash);
    return grpc::Status::OK;
  }

  grpc::Status QueryUpload(grpc::ServerContext* context, const proto::QueryUploadRequest* request,
                           proto::UploadReply* reply) override {
    const auto received = coordinator_.programs().Received(request->hash(), request->total_size());
    if (!received.ok()) return ToGrpc(UploadError(received.status()), context);
    reply->set_hash(request->hash());
    reply->set_received(*received);
    return grpc::Status::OK;
  }

  grpc::Status Submit(grpc::ServerContext* context, const proto::SubmitRequest* request, proto::Job* reply) override {
    const auto job = coordinator_.With([&](Core& core) { return core.Submit(*request); });
    coordinator_.CountSubmit(job.status());
    return Reply(job, reply, context);
  }
  grpc::Status GetJob(grpc::ServerContext* context, const proto::JobRequest* request, proto::Job* reply) override {
    return Reply(coordinator_.With([&](Core& core) { return core.GetJob(request->job_id()); }), reply, context);
  }
  grpc::Status ListJobs(grpc::ServerContext*, const proto::ListJobsRequest*, proto::ListJobsReply* reply) override {
    for (proto::Job& job : coordinator_.With([](Core& core) { return core.ListJobs(); }))
      *reply->add_jobs() = std::move(job);
    return grpc::Status::OK;
  }

  grpc::Status WatchJob(grpc::ServerContext* context, const proto::JobRequest* request,
                        grpc::ServerWriter<proto::Job>* writer) override {
    auto watch = Watch::Open(coordinator_);
    if (!watch.ok()) return ToGrpc(watch.status(), context);
    (*watch)->Follow(request->job_id());
    proto::Job last;
    MonotonicTime sent;
    for (bool first = true;; first = false) {
      auto job = coordinator_.With([&](Core& core) { return core.GetJob(request->job_id()); });
      if (!job.ok()) return ToGrpc(job.status(), context);
      const MonotonicTime now = Clock::Real().Now();
      // New steps can be frequent, so they are sent at most once per interval. All other changes are sent at once.
      const bool news = first || job->changed_unix_ms() != last.changed_unix_ms() || job->state() != last.state() ||
                        job->reason() != last.reason();
      const bool steps = job->steps_done() != last.steps_done();
      if (news || (steps && now - sent >= kWatchInterval)) {
        if (!writer->Write(*job)) return grpc::Status::OK;
        sent = now;
        last = *std::move(job);
      }
      if (last.state() >= proto::Job::SUCCEEDED) return grpc::Status::OK;
      if (absl::Status ended = Ended(context); !ended.ok()) return ToGrpc(ended, context);
      (*watch)->Wait(kWatchInterval);
    }
  }

  grpc::Status StopJob(grpc::ServerContext* context, const proto::JobRequest* request, proto::Job* reply) override {
    return Reply(coordinator_.With([&](Core& core) { return core.Stop(request->job_id()); }), reply, context);
  }
  grpc::Status FinishJob(grpc::ServerContext* context, const proto::JobRequest* request, proto::Job* reply) override {
    return Reply(coordinator_.With([&](Core& core) { return core.Finish(request->job_id()); }), reply, context);
  }
  grpc::Status DeleteJob(grpc::ServerContext* context, const proto::JobRequest* request,
                         proto::DeleteJobReply*) override {
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
    auto watch = Watch::Open(coordinator_);
    if (!watch.ok()) return ToGrpc(watch.status(), context);
    (*watch)->Follow(request->job_id());
    int64_t next = std::max<int64_t>(1, request->from_step());
    for (;;) {
      const auto results =
          coordinator_.With([&](Core& core) { return core.ResultsFrom(request->job_id(), next, kResultsAtOnce); });
      if (!results.ok()) return ToGrpc(results.status(), context);
      for (const proto::StepResult& result : results->results) {
        if (!writer->Write(result)) return grpc::Status::OK;
        next = result.step() + 1;
        if (request->until_step() > 0 && next > request->until_step()) return grpc::Status::OK;
      }
      if (!results->results.empty()) continue;
      if (!results->more) return grpc::Status::OK;
      if (absl::Status ended = Ended(context); !ended.ok()) return ToGrpc(ended, context);
      (*watch)->Wait(kWatchInterval);
    }
  }

  grpc::ServerBidiReactor<proto::StepCommand, proto::StepResult>* RunSteps(
      grpc::CallbackServerContext* context) override {
    return new StepStream(coordinator_, context);  // deletes itself
  }

 private:
  absl::Status Ended(grpc::ServerContext* context) const {
    if (context->IsCancelled()) return absl::CancelledError("cancelled by the client");
    if (!coordinator_.stopping()) return absl::OkStatus();
    return WithReason(absl::UnavailableError("the coordinator is shutting down"), reason::kDraining);
  }

  Coordinator& coordinator_;
};

class WorkerServiceImpl : public proto::WorkerService::Service {
 public:
  explicit WorkerServiceImpl(Coordinator& coordinator) : coordinator_(coordinator) {}

  grpc::Status Session(grpc::ServerContext* context,
                       grpc::ServerReaderWriter<proto::ToWorker, proto::FromWorker>* stream) override {
    return ServeSession(coordinator_, context, stream);
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
    grpc::ResourceQuota quota;
    quota.SetMaxThreads(kMaxThreads);
    builder.SetResourceQuota(quota);
    builder.RegisterService(&jobs_);
    builder.RegisterService(&workers_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", listen,
                       ": the port is in use, or the address is not one of this machine; choose another --listen"));
    }
    address_ = absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port);
    return absl::OkStatus();
  }
  const std::string& address() const override { return address_; }
  void SetServing(bool serving) override { server_->GetHealthCheckService()->SetServingStatus(serving); }
  void Stop(Duration grace) override {
    using std::chrono::system_clock;
    server_->Shutdown(system_clock::now() + std::chrono::duration_cast<system_clock::duration>(grace));
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
