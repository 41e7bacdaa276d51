// Workers: registration, heartbeats, leases, and what happens to jobs when one is lost.

#include <algorithm>

#include "base/log.h"
#include "base/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/errors.h"

namespace alpa::coordinator {

using proto::Job;

namespace {

constexpr size_t kPartBytes = 1 << 20;
constexpr int kMaxDevices = 1024;

double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

bool ValidWorkerName(const std::string& name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
}

}  // namespace

absl::StatusOr<proto::Welcome> Core::OnRegister(uint64_t session, const proto::Register& message) {
  if (!ValidWorkerName(message.name())) {
    return InvalidArgument("worker name \"%s\" is not 1 to 63 letters, digits, -, _ or .", message.name().substr(0, 80));
  }
  if (message.version() != version_) {
    return FailedPrecondition("worker %s has version %s, the coordinator has %s; install the same on both", message.name(),
                              message.version(), version_);
  }
  if (message.device_count() < 1 || message.device_count() > kMaxDevices) {
    return InvalidArgument("worker %s reports %d devices; 1 to %d are allowed", message.name(), message.device_count(),
                           kMaxDevices);
  }
  WorkerRecord& worker = workers_[message.name()];
  if (worker.up) {
    return absl::AlreadyExistsError(
        absl::StrCat("a live worker is already called ", message.name(), "; start this one with another --name"));
  }
  std::vector<DeviceId>& ids = device_ids_[message.name()];
  while (static_cast<int32_t>(ids.size()) < message.device_count()) ids.push_back(DeviceId(next_device_++));
  worker.name = message.name();
  worker.incarnation = message.incarnation();
  worker.tensor_address = message.tensor_address();
  worker.transport_address = message.transport_address();
  worker.device_kind = message.device_kind();
  worker.device_memory = message.device_memory_bytes();
  worker.session = session;
  worker.devices.assign(ids.begin(), ids.begin() + message.device_count());
  worker.bytes_in_use.clear();
  worker.up = true;
  worker.last_heartbeat = clock_.Now();
  LogInfo({.worker = worker.name}, "registered with %d %s devices, tensors at %s", message.device_count(),
          worker.device_kind, worker.tensor_address);
  proto::Welcome welcome;
  welcome.set_cluster_epoch(cluster_epoch_);
  for (DeviceId device : worker.devices) welcome.add_device_ids(device.value());
  welcome.set_heartbeat_seconds(Seconds(limits_.heartbeat));
  actions_.Changed();
  Schedule();
  return welcome;
}

WorkerRecord* Core::WorkerOf(uint64_t session) {
  for (auto& [name, worker] : workers_) {
    if (worker.up && worker.session == session) return &worker;
  }
  return nullptr;
}

const WorkerRecord* Core::HolderOf(DeviceId device) const {
  for (const auto& [name, worker] : workers_) {
    if (std::find(worker.devices.begin(), worker.devices.end(), device) != worker.devices.end()) return &worker;
  }
  return nullptr;
}

void Core::OnMessage(uint64_t session, const proto::FromWorker& message) {
  WorkerRecord* worker = WorkerOf(session);
  if (worker == nullptr) return;   // of a session that was given up
  worker->last_heartbeat = clock_.Now();
  switch (message.message_case()) {
    case proto::FromWorker::kHeartbeat:
      worker->bytes_in_use.assign(message.heartbeat().device_bytes_in_use().begin(),
                                  message.heartbeat().device_bytes_in_use().end());
      return;
    case proto::FromWorker::kPrepared: return OnPrepared(*worker, message.prepared());
    case proto::FromWorker::kStepDone: return OnStepDone(*worker, message.step_done());
    default: return;
  }
}

void Core::OnSessionEnd(uint64_t session, const std::string& why) {
  if (WorkerRecord* worker = WorkerOf(session)) LoseWorker(*worker, why);
}

void Core::LoseWorker(WorkerRecord& worker, const std::string& why) {
  LogWarning({.worker = worker.name}, "lost: %s", why);
  worker.up = false;
  for (auto& [id, record] : jobs_) {
    if (record.final() || std::find(record.workers.begin(), record.workers.end(), worker.name) == record.workers.end()) {
      continue;
    }
    Fail(record, Job::INFRASTRUCTURE, "JOB_FAILED", absl::StrCat("worker ", worker.name, " was lost: ", why), worker.name, "");
  }
  actions_.Changed();
  Schedule();
}

void Core::SendPrepare(JobRecord& record) {
  const std::string& bytes = record.planned->serialized_executable;
  record.transport_epoch = next_transport_epoch_++;
  record.preparing.insert(record.workers.begin(), record.workers.end());
  for (const std::string& name : record.workers) {
    const uint64_t session = workers_.at(name).session;
    for (size_t at = 0;;) {
      const size_t size = std::min(kPartBytes, bytes.size() - at);
      proto::ToWorker message;
      proto::Prepare* prepare = message.mutable_prepare();
      prepare->set_job_id(record.job.job_id());
      prepare->set_epoch(record.job.epoch());
      prepare->set_executable_part(bytes.substr(at, size));
      at += size;
      prepare->set_last_part(at == bytes.size());
      if (prepare->last_part()) {
        prepare->set_transport_epoch(record.transport_epoch);
        for (DeviceId device : record.devices) {
          const WorkerRecord* holder = HolderOf(device);
          auto* rank = prepare->add_ranks();
          rank->set_device(device.value());
          rank->set_worker(holder->name);
          rank->set_transport_address(holder->transport_address);
        }
      }
      const bool last = prepare->last_part();
      actions_.SendToWorker(session, std::move(message));
      if (last) break;
    }
  }
}

void Core::OnPrepared(const WorkerRecord& worker, const proto::Prepared& message) {
  const auto found = jobs_.find(message.job_id());
  if (found == jobs_.end()) return;
  JobRecord& record = found->second;
  if (record.job.state() != Job::PLANNING || record.job.epoch() != message.epoch() ||
      record.preparing.erase(worker.name) == 0) {
    return;
  }
  if (message.error().code() != 0) return OnWorkerError(record, worker, message.error(), "compiling");
  if (!record.preparing.empty()) return;
  record.last_activity = clock_.Now();
  (void)Change(record, Job::RUNNING, "", "running");   // a failing disk is logged there; the client sees PLANNING
}

void Core::OnWorkerError(JobRecord& record, const WorkerRecord& worker, const proto::WorkerError& error,
                         const std::string& doing) {
  // What a worker reports is an op that failed, memory that is short, a peer that is gone.
  const auto code = static_cast<absl::StatusCode>(error.code());
  Job::Cause cause = Job::PLATFORM;
  std::string reason = "JOB_FAILED";
  if (code == absl::StatusCode::kUnimplemented) cause = Job::USER, reason = "UNSUPPORTED_OP";
  if (code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kFailedPrecondition) cause = Job::USER;
  if (code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kAborted) cause = Job::INFRASTRUCTURE;
  const std::string message = absl::StrCat("worker ", worker.name, ", ", doing, ": ", error.message());
  if (!error.secondary()) return Fail(record, cause, reason, message, worker.name, error.op());
  if (record.pending_failure) return;
  // A consequence: its cause is probably on the way, from another worker or as a lost session.
  record.pending_failure.emplace(clock_.Now() + limits_.primary_error_wait,
                                 [this, id = record.job.job_id(), cause, reason, message, name = worker.name, op = error.op()] {
                                   if (auto it = jobs_.find(id); it != jobs_.end()) {
                                     Fail(it->second, cause, reason, message, name, op);
                                   }
                                 });
}

void Core::Tick() {
  const MonotonicTime now = clock_.Now();
  for (auto& [name, worker] : workers_) {
    if (worker.up && now - worker.last_heartbeat > limits_.lease) {
      const uint64_t session = worker.session;
      LoseWorker(worker, absl::StrFormat("no heartbeat for %.1f s", Seconds(now - worker.last_heartbeat)));
      actions_.EndSession(session, absl::DeadlineExceededError("no heartbeat within the lease"));
    }
  }
  for (const std::string& id : std::vector<std::string>(order_)) {
    JobRecord& record = jobs_.at(id);
    if (record.final()) continue;
    if (record.pending_failure && now >= record.pending_failure->first) {
      const std::function<void()> fail = record.pending_failure->second;
      fail();
      continue;
    }
    if (record.job.state() != Job::RUNNING) continue;
    if (!record.in_flight.empty()) {
      Duration limit = limits_.watchdog_floor;
      if (!record.recent_seconds.empty()) {
        limit = std::max(limit, Duration(static_cast<int64_t>(1e10 * JobOf(record).median_step_seconds())));
      }
      const StepRecord& first = record.in_flight.begin()->second;
      // Steps queue behind each other: the clock of the first starts when the one before was done.
      const Duration waited = now - std::max(first.dispatched, record.last_activity);
      if (waited > limit) {
        std::string names;
        for (const std::string& name : first.waiting_for) absl::StrAppend(&names, names.empty() ? "" : ", ", name);
        Fail(record, Job::INFRASTRUCTURE, "JOB_FAILED",
             absl::StrFormat("step %d made no progress for %.0f s (limit %.0f s); still waited for: %s", first.step,
                             Seconds(waited), Seconds(limit), names),
             *first.waiting_for.begin(), "");
      }
    } else if (now - record.last_activity > limits_.idle_timeout) {
      if (Change(record, Job::STOPPED, absl::StrFormat("no client for %.0f s", Seconds(now - record.last_activity)), "stopped").ok()) {
        ReleaseWorkers(record, absl::CancelledError("the job was idle"));
        Schedule();
      }
    }
  }
}

proto::ClusterReply Core::Cluster() const {
  proto::ClusterReply reply;
  reply.set_cluster_epoch(cluster_epoch_);
  reply.set_version(version_);
  for (const auto& [name, worker] : workers_) {
    proto::WorkerState* state = reply.add_workers();
    state->set_name(name);
    state->set_incarnation(worker.incarnation);
    state->set_tensor_address(worker.tensor_address);
    state->set_up(worker.up);
    state->set_heartbeat_age_seconds(Seconds(clock_.Now() - worker.last_heartbeat));
    for (DeviceId device : worker.devices) {
      proto::DeviceState* out = state->add_devices();
      out->set_id(device.value());
      out->set_kind(worker.device_kind);
      out->set_memory_bytes(worker.device_memory);
      if (const auto job = device_job_.find(device); job != device_job_.end()) out->set_job_id(job->second);
    }
  }
  return reply;
}

}  // namespace alpa::coordinator
