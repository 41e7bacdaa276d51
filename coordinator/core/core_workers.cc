// The part of Core that handles workers: their registration, heartbeats, leases and errors, and the jobs of a lost
// worker. It also checks the jobs' deadlines.

#include <algorithm>
#include <cctype>

#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status.h"
#include "cluster/wire/inventory_wire.h"
#include "coordinator/core/core.h"
#include "coordinator/core/errors.h"
#include "coordinator/core/text.h"

namespace alpa::coordinator {

using proto::Job;

namespace {

constexpr int kMaxDevices = 1024;              // maximum number of devices per worker
constexpr size_t kMaxAddressBytes = 64 << 10;  // maximum size of a transport address
constexpr size_t kMaxTextBytes = 256;          // maximum size of a tensor address, device kind or incarnation

double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

bool ValidWorkerName(const std::string& name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
}

absl::Status CheckRegister(const proto::Register& message, const std::string& version) {
  if (!ValidWorkerName(message.name())) {
    return InvalidArgument("worker name \"%s\" is invalid; use 1 to 63 letters, digits, -, _ or .",
                           CleanText(message.name(), 80));
  }
  if (message.version() != version) {
    return FailedPrecondition("worker %s has version %s, but the coordinator has %s; install the same version on both",
                              message.name(), CleanText(message.version(), 80), version);
  }
  if (message.device_count() < 1 || message.device_count() > kMaxDevices) {
    return InvalidArgument("worker %s reports %d devices; 1 to %d are allowed", message.name(), message.device_count(),
                           kMaxDevices);
  }
  if (message.device_memory_bytes() < 0) {
    return InvalidArgument("worker %s reports %d bytes of device memory; it must be 0 or more", message.name(),
                           message.device_memory_bytes());
  }
  if (message.transport_address().size() > kMaxAddressBytes || message.tensor_address().size() > kMaxTextBytes ||
      message.device_kind().size() > kMaxTextBytes || message.incarnation().size() > kMaxTextBytes) {
    return InvalidArgument("worker %s reports an address, device kind or incarnation that is too long", message.name());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<cluster::NodeFacts>> ReadFacts(const proto::Register& message) {
  if (!message.has_facts()) return std::nullopt;
  auto facts = cluster::FromProto(message.facts());
  if (!facts.ok()) {
    return InvalidArgument("worker %s reports invalid facts about its machine: %s", message.name(),
                           CleanText(facts.status().message(), 300));
  }
  return *std::move(facts);
}

}  // namespace

absl::StatusOr<proto::Welcome> Core::OnRegister(uint64_t session, const proto::Register& message) {
  ALPA_RETURN_IF_ERROR(CheckRegister(message, version_));
  ALPA_ASSIGN_OR_RETURN(auto facts, ReadFacts(message));
  WorkerRecord& worker = workers_[message.name()];
  if (worker.up) {
    return absl::AlreadyExistsError(
        absl::StrCat("a worker named ", message.name(), " is already connected; start this one with another --name"));
  }
  std::vector<DeviceId>& ids = device_ids_[message.name()];
  while (static_cast<int32_t>(ids.size()) < message.device_count()) ids.push_back(DeviceId(next_device_++));
  worker.name = message.name();
  worker.incarnation = message.incarnation();
  worker.tensor_address = message.tensor_address();
  worker.transport_address = message.transport_address();
  worker.device_kind = message.device_kind();
  worker.device_memory = message.device_memory_bytes();
  worker.facts = std::move(facts);
  worker.session = session;
  worker.devices.assign(ids.begin(), ids.begin() + message.device_count());
  worker.bytes_in_use.clear();
  worker.up = true;
  worker.last_heard = clock_.Now();
  LogInfo({.worker = worker.name}, "registered with %d %s devices, tensor address %s", message.device_count(),
          worker.device_kind, worker.tensor_address);
  proto::Welcome welcome;
  welcome.set_cluster_epoch(cluster_epoch_);
  for (DeviceId device : worker.devices) welcome.add_device_ids(device.value());
  welcome.set_heartbeat_seconds(Seconds(limits_.heartbeat));
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
  if (worker == nullptr) return;  // the session has ended already
  worker->last_heard = clock_.Now();
  switch (message.message_case()) {
    case proto::FromWorker::kHeartbeat: {
      const auto& bytes = message.heartbeat().device_bytes_in_use();
      const auto n = std::min(worker->devices.size(), static_cast<size_t>(bytes.size()));
      worker->bytes_in_use.assign(bytes.begin(), bytes.begin() + static_cast<int>(n));
      return;
    }
    case proto::FromWorker::kPrepared: return OnPrepared(*worker, message.prepared());
    case proto::FromWorker::kStepDone: return OnStepDone(*worker, message.step_done());
    default: return;
  }
}

void Core::OnSessionEnd(uint64_t session, const std::string& why) {
  if (WorkerRecord* worker = WorkerOf(session)) LoseWorker(*worker, why);
}

void Core::LoseWorker(WorkerRecord& worker, const std::string& why) {
  LogWarning({.worker = worker.name}, "the worker is lost: %s", why);
  worker.up = false;
  std::set<std::string> jobs;
  for (DeviceId device : worker.devices) {
    if (const auto job = device_job_.find(device); job != device_job_.end()) jobs.insert(job->second);
  }
  for (const std::string& id : jobs) {
    JobRecord& record = jobs_.at(id);
    const bool unplanned = record.job.state() == Job::PLANNING && record.workers.empty();
    if (unplanned) UncountAttempt(record);
    if (unplanned &&
        Change(record, Job::PENDING, "waits for workers", "queued again: worker " + worker.name + " was lost").ok()) {
      // No worker has received anything of this job yet. The planner is still making a plan for the job. OnPlanned will
      // drop this plan.
      std::erase_if(device_job_, [&](const auto& entry) { return entry.second == id; });
      record.devices.clear();
      continue;
    }
    Fail(record, Job::INFRASTRUCTURE, reason::kJobFailed, absl::StrCat("worker ", worker.name, " was lost: ", why),
         worker.name);
  }
  Schedule();
}

void Core::OnWorkerError(JobRecord& record, const WorkerRecord& worker, const proto::WorkerError& error,
                         const std::string& doing) {
  // A worker reports a failed op, a lack of memory or a lost peer. The cause follows from the error's code.
  PendingFailure failure{clock_.Now() + limits_.primary_error_wait,
                         Job::PLATFORM,
                         std::string(reason::kJobFailed),
                         absl::StrCat("worker ", worker.name, ", ", doing, ": ", error.message()),
                         worker.name,
                         error.op()};
  switch (static_cast<absl::StatusCode>(error.code())) {
    case absl::StatusCode::kUnimplemented:
      failure.cause = Job::USER;
      failure.reason_word = std::string(reason::kUnsupportedOp);
      break;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange: failure.cause = Job::USER; break;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded: failure.cause = Job::INFRASTRUCTURE; break;
    default: break;
  }
  if (!error.secondary()) return Fail(record, failure);
  // The primary error will probably arrive soon, from another worker or as a lost session.
  if (!record.pending_failure) record.pending_failure = std::move(failure);
}

void Core::Tick() {
  const MonotonicTime now = clock_.Now();
  for (auto it = workers_.begin(); it != workers_.end();) {
    WorkerRecord& worker = it->second;
    ++it;
    const Duration silent = now - worker.last_heard;
    if (worker.up && silent > limits_.lease) {
      const uint64_t session = worker.session;
      const std::string why = absl::StrFormat("no heartbeat for %.1f s", Seconds(silent));
      LoseWorker(worker, why);
      actions_.EndSession(session, absl::DeadlineExceededError(why));
    } else if (!worker.up && silent > limits_.lost_worker_listed) {
      workers_.erase(std::string(worker.name));
    }
  }
  for (const auto& [number, record] : std::map<uint64_t, JobRecord*>(live_)) CheckDeadlines(*record, now);
  if (!queue_.empty()) Schedule();  // retries jobs that a disk error has kept from starting
}

void Core::CheckDeadlines(JobRecord& record, MonotonicTime now) {
  if (record.final()) return;
  if (record.pending_failure) {
    if (now >= record.pending_failure->due) Fail(record, PendingFailure(*record.pending_failure));
    return;
  }
  if (record.job.state() == Job::PLANNING) {
    const bool compiling = !record.workers.empty();
    const Duration limit = compiling ? limits_.prepare_timeout : limits_.planning_timeout;
    if (now - record.phase_began <= limit) return;
    if (!compiling) {
      return Fail(record, Job::PLATFORM, reason::kNoFeasiblePlan,
                  absl::StrFormat("no plan was found within %.0f s; pin more of the plan", Seconds(limit)));
    }
    return Fail(
        record, Job::PLATFORM, reason::kJobFailed,
        absl::StrFormat("compiling took more than %.0f s on %s", Seconds(limit), absl::StrJoin(record.preparing, ", ")),
        *record.preparing.begin());
  }
  if (record.accepted > record.done) return CheckStep(record, now);
  if (record.streams == 0 && now - record.last_contact > limits_.idle_timeout) {
    const std::string why = absl::StrFormat("no client for %.0f s", Seconds(now - record.last_contact));
    if (Change(record, Job::STOPPED, why, "stopped").ok()) Retire(record, absl::CancelledError(why));
  }
}

void Core::CheckStep(JobRecord& record, MonotonicTime now) {
  Duration limit = limits_.watchdog_floor;
  if (!record.recent_seconds.empty()) {
    const std::chrono::duration<double> ten_medians(10 * JobOf(record, false).median_step_seconds());
    limit = std::max(limit, std::chrono::duration_cast<Duration>(ten_medians));
  }
  // The step's time starts at its dispatch, or at the end of the previous step if that is later.
  const Duration waited = now - std::max(record.commands.front().sent, record.last_step_done);
  if (waited <= limit) return;
  const int64_t step = record.done + 1;
  std::vector<std::string> slow;
  for (const auto& [name, reported] : record.reported) {
    if (reported < step) slow.push_back(name);
  }
  Fail(record, Job::INFRASTRUCTURE, reason::kJobFailed,
       absl::StrFormat("step %d made no progress for %.1f s (limit %.1f s); it waits for worker %s", step,
                       Seconds(waited), Seconds(limit), absl::StrJoin(slow, ", ")),
       slow.front());
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
    state->set_heartbeat_age_seconds(Seconds(clock_.Now() - worker.last_heard));
    for (DeviceId device : worker.devices) {
      proto::DeviceState* out = state->add_devices();
      out->set_id(device.value());
      out->set_kind(worker.device_kind);
      out->set_memory_bytes(worker.device_memory);
      if (const auto job = device_job_.find(device); job != device_job_.end()) out->set_job_id(job->second);
    }
  }
  *reply.mutable_inventory() = cluster::ToProto(Inventory());
  return reply;
}

cluster::Cluster Core::Inventory() const {
  std::vector<cluster::Node> nodes;
  for (const auto& [name, worker] : workers_) {
    if (worker.up) nodes.push_back({name, worker.device_kind, worker.device_memory, worker.devices, worker.facts});
  }
  return cluster::Assemble(nodes);
}

}  // namespace alpa::coordinator
