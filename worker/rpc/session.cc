#include "worker/rpc/session.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <random>
#include <thread>

#include "base/status.h"
#include "cluster/wire/inventory_wire.h"
#include "proto/inventory.pb.h"
#include "proto/worker_service.grpc.pb.h"
#include "worker/rpc/outbox.h"
#include "worker/rpc/prepare_assembler.h"
#include "worker/rpc/status_rpc.h"

namespace alpa::worker {
namespace {

// The longest time that the coordinator may take to answer a registration.
constexpr std::chrono::seconds kWelcomeTimeout{15};
// The longest time that a drained worker waits for the coordinator to end the stream.
constexpr std::chrono::seconds kGoodbyeTimeout{2};
// The shortest time between two log lines about a missing session.
constexpr std::chrono::seconds kLogInterval{10};
// The longest time that the worker keeps trying if the coordinator refuses its name. The refusal may be temporary,
// because the worker's own broken session may still hold the name.
constexpr std::chrono::seconds kNameTimeout{60};

std::shared_ptr<grpc::Channel> Dial(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // no channel inherits the back-off of an earlier one
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

// Returns true if the code means that the coordinator refuses the worker and another attempt would not help.
bool IsRefusal(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::UNIMPLEMENTED: return true;
    default: return false;
  }
}

}  // namespace

// One stream to the coordinator. The caller's thread reads, and a thread of the connection writes.
class Session::Connection {
 public:
  Connection(const Options& options, WorkerCore& core) : options_(options), core_(core) {}

  // Runs one session until the stream ends. Returns the stream's status.
  grpc::Status Run(const std::string& incarnation) {
    const auto channel = Dial(options_.coordinator);
    const auto stub = proto::WorkerService::NewStub(channel);
    stream_ = stub->Session(&context_);
    proto::FromWorker hello;
    Register(incarnation, hello.mutable_register_());
    std::thread writer;
    if (stream_->Write(hello)) writer = std::thread([this] { WriteAll(); });
    proto::ToWorker message;
    while (stream_->Read(&message)) Handle(std::move(message));
    outbox_->Close();
    {
      MutexLock lock(mutex_);
      ended_ = true;
      changed_.NotifyAll();
    }
    if (writer.joinable()) writer.join();
    const grpc::Status status = stream_->Finish();
    if (drainer_.joinable()) drainer_.join();
    return status;
  }

  void Drain() {
    {
      MutexLock lock(mutex_);
      drain_wanted_ = true;
    }
    outbox_->Poke();
  }

  bool welcomed() const {
    MutexLock lock(mutex_);
    return welcomed_;
  }
  bool drained() const {
    MutexLock lock(mutex_);
    return drain_wanted_;
  }

 private:
  void Register(const std::string& incarnation, proto::Register* out) const {
    out->set_name(options_.name);
    out->set_incarnation(incarnation);
    out->set_version(options_.version);
    out->set_tensor_address(options_.tensor_address);
    out->set_transport_address(options_.transport_address);
    out->set_device_kind(options_.device_kind);
    out->set_device_count(core_.device_count());
    out->set_device_memory_bytes(options_.device_memory);
    if (options_.facts) *out->mutable_facts() = cluster::ToProto(*options_.facts);
  }

  proto::FromWorker Heartbeat() const {
    proto::FromWorker message;
    for (Bytes bytes : core_.device_bytes_in_use()) message.mutable_heartbeat()->add_device_bytes_in_use(bytes);
    for (const WorkerCore::JobProgress& job : core_.progress()) {
      auto* progress = message.mutable_heartbeat()->add_progress();
      progress->set_job_id(job.job_id);
      progress->set_step(job.progress.step);
      progress->set_seconds(job.progress.seconds);
    }
    return message;
  }

  void WriteAll() {
    const MonotonicTime begin = Clock::Real().Now();
    MonotonicTime heartbeat = begin;
    bool draining = false;
    while (!outbox_->over()) {
      Duration interval{0};
      bool drain = false;
      {
        MutexLock lock(mutex_);
        interval = heartbeat_interval_;
        drain = drain_wanted_ && !draining;
      }
      const MonotonicTime now = Clock::Real().Now();
      if (interval == Duration{0} && now - begin > kWelcomeTimeout) {
        context_.TryCancel();  // the coordinator accepted the call, but has not answered
        return;
      }
      if (drain) {
        draining = true;
        drainer_ = std::thread([this] { DrainJobs(); });
      }
      if (interval > Duration{0} && now >= heartbeat) {
        if (!stream_->Write(Heartbeat())) break;
        heartbeat = now + interval;
      }
      const MonotonicTime next = interval > Duration{0} ? heartbeat : now + std::chrono::milliseconds(100);
      if (auto message = outbox_->Next(next)) {
        if (!stream_->Write(*message)) break;
      }
    }
    stream_->WritesDone();
  }

  void DrainJobs() {
    core_.Drain(Clock::Real().Now() + options_.drain_timeout);
    outbox_->Finish();
    // The coordinator should now end the stream. If it does not, this side cancels the call.
    MutexLock lock(mutex_);
    const MonotonicTime deadline = Clock::Real().Now() + kGoodbyeTimeout;
    while (!ended_ && Clock::Real().Now() < deadline) changed_.WaitUntil(lock, deadline);
    if (!ended_) context_.TryCancel();
  }

  void Handle(proto::ToWorker message) {
    switch (message.message_case()) {
      case proto::ToWorker::kWelcome: {
        MutexLock lock(mutex_);
        assembler_ = std::make_unique<PrepareAssembler>(
            options_.name,
            std::vector<int32_t>(message.welcome().device_ids().begin(), message.welcome().device_ids().end()));
        const double seconds = message.welcome().heartbeat_seconds();
        heartbeat_interval_ =
            std::chrono::milliseconds(static_cast<int64_t>(1000 * std::clamp(seconds > 0 ? seconds : 1.0, 0.02, 60.0)));
        welcomed_ = true;
        outbox_->Poke();
        if (options_.on_registered) options_.on_registered();
        return;
      }
      case proto::ToWorker::kPrepare: return Prepare(std::move(*message.mutable_prepare()));
      case proto::ToWorker::kRunStep: {
        const proto::RunStep& run = message.run_step();
        core_.RunSteps(run.job_id(), run.epoch(),
                       {run.first_step(), run.count(), run.first_batch_slot(), run.batch_slots()}, *outbox_);
        return;
      }
      case proto::ToWorker::kRelease:
        core_.Release(message.release().job_id(), message.release().epoch(), FromProto(message.release().cause()),
                      *outbox_);
        return;
      case proto::ToWorker::kDrain: return Drain();
      case proto::ToWorker::MESSAGE_NOT_SET: return;  // a message from a newer version; ignored
    }
  }

  void Prepare(proto::Prepare part) {
    const std::string job_id = part.job_id();
    const uint64_t epoch = part.epoch();
    if (assembler_ == nullptr) {
      outbox_->OnPrepared(
          job_id, epoch, absl::FailedPreconditionError("the coordinator sent a job before its Welcome"), 0, 0);
      return;
    }
    auto spec = assembler_->Add(std::move(part));
    if (!spec.ok()) {
      outbox_->OnPrepared(job_id, epoch, spec.status(), 0, 0);
    } else if (spec->has_value()) {
      core_.Prepare(**std::move(spec), outbox_);
    }
  }

  const Options& options_;
  WorkerCore& core_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<proto::FromWorker, proto::ToWorker>> stream_;
  // Jobs share the outbox, because they may outlive the session for a moment.
  const std::shared_ptr<Outbox> outbox_ = std::make_shared<Outbox>();
  std::unique_ptr<PrepareAssembler> assembler_;  // used by the reading thread only
  std::thread drainer_;                          // started by the writer thread, joined after that thread
  mutable Mutex mutex_;
  CondVar changed_;
  Duration heartbeat_interval_ ALPA_GUARDED_BY(mutex_){0};  // 0: no Welcome yet
  bool welcomed_ ALPA_GUARDED_BY(mutex_) = false;
  bool drain_wanted_ ALPA_GUARDED_BY(mutex_) = false;
  bool ended_ ALPA_GUARDED_BY(mutex_) = false;
};

Session::Session(Options options, WorkerCore& core) : options_(std::move(options)), core_(core) {
  static_assert(kWelcomeTimeout > kGoodbyeTimeout);
}
Session::~Session() = default;

std::string Session::NewIncarnation() const {
  std::random_device random;
  return absl::StrFormat("%08x%08x", random(), random());
}

void Session::RequestDrain() {
  MutexLock lock(mutex_);
  draining_ = true;
  if (connection_ != nullptr) connection_->Drain();
  changed_.NotifyAll();
}

Session::Result Session::Run() {
  auto log = [&](const std::string& line) {
    if (options_.log) options_.log(line);
  };
  std::minstd_rand jitter(std::random_device{}());
  Clock& clock = Clock::Real();
  MonotonicTime lost = clock.Now(), logged{};
  Duration wait = std::chrono::milliseconds(100);
  bool known = false;  // the coordinator has accepted this worker before
  while (true) {
    Connection connection(options_, core_);
    {
      MutexLock lock(mutex_);
      if (draining_) break;
      connection_ = &connection;
    }
    const grpc::Status status = connection.Run(NewIncarnation());
    {
      MutexLock lock(mutex_);
      connection_ = nullptr;
    }
    core_.ReleaseAll(
        absl::UnavailableError(absl::StrCat("the session with the coordinator ended: ", status.error_message())));
    if (connection.drained()) return {End::kDrained, ""};
    const MonotonicTime now = clock.Now();
    if (connection.welcomed()) {
      known = true;
      lost = now;
      logged = {};
      wait = std::chrono::milliseconds(100);
    }
    const std::string why =
        absl::StrFormat("%s (code %d)", status.error_message(), static_cast<int>(status.error_code()));
    if (!connection.welcomed() && IsRefusal(status.error_code())) {
      const bool own_name =
          known && status.error_code() == grpc::StatusCode::ALREADY_EXISTS && now - lost < kNameTimeout;
      if (!own_name) {
        return {End::kRefused, absl::StrFormat("coordinator %s refuses worker \"%s\": %s", options_.coordinator,
                                               options_.name, why)};
      }
    }
    if (options_.coordinator_timeout > Duration{0} && now - lost >= options_.coordinator_timeout) {
      return {End::kUnreachable, absl::StrFormat("coordinator %s cannot be reached: %s", options_.coordinator, why)};
    }
    if (now - logged >= kLogInterval || logged == MonotonicTime{}) {
      log(absl::StrFormat("no session with coordinator %s: %s; trying again", options_.coordinator, why));
      logged = now;
    }
    MutexLock lock(mutex_);
    const Duration pause = wait / 2 + Duration(jitter() % (wait.count() / 2 + 1));
    const MonotonicTime until = clock.Now() + pause;
    while (!draining_ && clock.Now() < until) changed_.WaitUntil(lock, until);
    wait = std::min<Duration>(2 * wait, std::chrono::seconds(10));
  }
  core_.Drain(clock.Now() + options_.drain_timeout);
  return {End::kDrained, ""};
}

}  // namespace alpa::worker
