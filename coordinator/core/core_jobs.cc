// The part of Core that submits, queries and ends jobs.

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/match.h"
#include "base/log.h"
#include "base/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/errors.h"
#include "coordinator/core/text.h"
#include "plan/plan_request.h"

namespace alpa::coordinator {

using proto::Job;

namespace {

constexpr size_t kMaxReasonBytes = 4000;  // maximum size of a job's reason or failed op; longer text is cut
constexpr size_t kMaxNameBytes = 200;     // maximum size of a job's name; a longer name is refused

int64_t Millis(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

bool ValidJobId(const std::string& id) {
  return !id.empty() && id.size() <= 63 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

absl::Status CheckRequest(const proto::SubmitRequest& request) {
  if (request.total_steps() < 0) {
    return WithReason(InvalidArgument("total_steps is %d; it must be 0 or more", request.total_steps()),
                      reason::kBadRequest);
  }
  if (request.name().size() > kMaxNameBytes) {
    return WithReason(
        InvalidArgument("the job's name has %d bytes; at most %d are allowed", request.name().size(), kMaxNameBytes),
        reason::kBadRequest);
  }
  return plan::Check(request.plan());
}

}  // namespace

Core::Core(Limits limits, std::string version, Clock& clock, Store& store, Actions& actions)
    : limits_(limits), version_(std::move(version)), clock_(clock), store_(store), actions_(actions) {}

absl::Status Core::Replay() {
  ALPA_ASSIGN_OR_RETURN(cluster_epoch_, store_.NextEpoch());
  // A transport epoch is never used twice, not even across restarts: its high bits are the cluster epoch.
  next_transport_epoch_ = (cluster_epoch_ << 32) + 1;
  ALPA_ASSIGN_OR_RETURN(std::vector<StoredJob> stored, store_.Jobs());
  for (const StoredJob& entry : stored) {
    JobRecord& record = jobs_[entry.job_id];
    if (!record.request.ParseFromString(entry.request) || !record.job.ParseFromString(entry.job) ||
        record.job.job_id() != entry.job_id) {
      return absl::DataLossError(absl::StrCat("job ", entry.job_id,
                                              " in the job database cannot be read; restore the database "
                                              "from a backup, or move it away to start with an empty one"));
    }
    record.stored_request = entry.request;
    record.number = next_job_++;
    if (record.job.has_plan()) record.plan = std::make_shared<const proto::Plan>(std::move(*record.job.mutable_plan()));
    record.job.clear_plan();
    ALPA_ASSIGN_OR_RETURN(std::vector<StoredEvent> events, store_.Events(entry.job_id));
    record.events = events.empty() ? 0 : events.back().sequence;
    record.done = record.accepted = record.job.steps_done();
    record.last_contact = clock_.Now();
    order_[record.number] = &record;
    if (record.final()) record.request.Clear();
  }
  for (auto& [number, record] : order_) {
    if (record->final()) continue;
    if (record->job.state() == Job::PENDING || record->job.state() == Job::PLANNING) {
      record->job.clear_devices();
      record->job.clear_plan_text();
      record->plan.reset();
      if (record->job.planning_attempts() >= limits_.planning_attempts) {
        Fail(*record, Job::PLATFORM, reason::kInternal,
             absl::StrCat("planning was interrupted ", record->job.planning_attempts(),
                          " times by the end of the coordinator; find out from the coordinator's log and the kernel's "
                          "log why it ended, then submit the job again"));
        continue;
      }
      ALPA_RETURN_IF_ERROR(Change(*record, Job::PENDING, "waits for workers", "queued again after a restart"));
    } else {
      Fail(*record, Job::INFRASTRUCTURE, reason::kJobFailed, "the coordinator restarted while the job ran");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<JobRecord*> Core::Find(const std::string& job_id) {
  const auto found = jobs_.find(job_id);
  if (found == jobs_.end()) {
    return WithReason(absl::NotFoundError(absl::StrCat("there is no job \"", CleanText(job_id, 80), "\"")),
                      reason::kJobNotFound);
  }
  return &found->second;
}
absl::StatusOr<const JobRecord*> Core::Find(const std::string& job_id) const {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, const_cast<Core*>(this)->Find(job_id));
  return record;
}

Job Core::JobOf(const JobRecord& record, bool with_plan) const {
  Job job = record.job;
  job.set_steps_done(record.done);
  if (!record.recent_seconds.empty()) {
    std::vector<double> sorted(record.recent_seconds.begin(), record.recent_seconds.end());
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    job.set_median_step_seconds(*middle);
  }
  if (with_plan && record.plan != nullptr) *job.mutable_plan() = *record.plan;
  if (!with_plan) job.clear_plan_text();
  return job;
}

absl::Status Core::Change(JobRecord& record, Job::State state, const std::string& reason, const std::string& event) {
  const int64_t now = Millis(clock_.WallNow());
  const std::string text = CleanText(reason, kMaxReasonBytes);
  Job next = JobOf(record, /*with_plan=*/true);
  next.set_state(state);
  next.set_reason(text);
  next.set_changed_unix_ms(now);
  const absl::Status status = store_.Record({next.job_id(), record.stored_request, next.SerializeAsString()},
                                            {record.events + 1, now, event, text});
  if (!status.ok()) {
    LogError({.job = next.job_id()}, "cannot record the event \"%s\": %s", event, std::string(status.message()));
    return WithReason(status, reason::kStorage);
  }
  ++record.events;
  record.job.set_state(state);
  record.job.set_reason(text);
  record.job.set_changed_unix_ms(now);
  record.job.set_steps_done(record.done);
  queue_.erase(record.number);
  live_.erase(record.number);
  if (state == Job::PENDING) queue_[record.number] = &record;
  if (state == Job::PLANNING || state == Job::RUNNING) live_[record.number] = &record;
  LogInfo({.job = next.job_id()}, "%s%s%s", event, text.empty() ? "" : ": ", text);
  actions_.Changed(next.job_id());
  return absl::OkStatus();
}

absl::StatusOr<Job> Core::Submit(const proto::SubmitRequest& original) {
  proto::SubmitRequest request = original;
  if (!request.job_id().empty() && !ValidJobId(request.job_id())) {
    return WithReason(
        InvalidArgument("job id \"%s\" is invalid; use 1 to 63 characters from a-z, 0-9 and -",
                        CleanText(request.job_id(), 80)),
        reason::kBadRequest);
  }
  if (const auto known = jobs_.find(request.job_id()); known != jobs_.end()) {
    if (known->second.stored_request == request.SerializeAsString()) return JobOf(known->second, true);
    return WithReason(absl::AlreadyExistsError(
                          absl::StrCat("job ", request.job_id(),
                                       " already exists with a different request; choose another id")),
                      reason::kJobExists);
  }
  if (draining_) {
    return WithReason(absl::UnavailableError("the coordinator is draining and accepts no more jobs"),
                      reason::kDraining);
  }
  ALPA_RETURN_IF_ERROR(CheckRequest(request));
  if (static_cast<int64_t>(queue_.size() + live_.size()) >= limits_.max_jobs) {
    return WithReason(absl::ResourceExhaustedError(
                          absl::StrCat("the queue is full: ", queue_.size(), " jobs wait and ", live_.size(),
                                       " are in planning or running; the limit is ", limits_.max_jobs)),
                      reason::kQueueFull);
  }
  const uint64_t number = next_job_++;
  for (uint64_t n = number; request.job_id().empty() || jobs_.contains(request.job_id()); ++n) {
    request.set_job_id(absl::StrCat("job-", cluster_epoch_, "-", n));
  }
  const std::string id = request.job_id();
  JobRecord& record = jobs_[id];
  record.number = number;
  record.stored_request = request.SerializeAsString();
  record.last_contact = clock_.Now();
  record.job.set_job_id(id);
  record.job.set_name(request.name());
  record.job.set_created_unix_ms(Millis(clock_.WallNow()));
  record.job.set_total_steps(request.total_steps());
  record.job.set_last_loss(std::numeric_limits<double>::quiet_NaN());
  record.request = std::move(request);
  if (absl::Status status = Change(record, Job::PENDING, "", "submitted"); !status.ok()) {
    jobs_.erase(id);
    return status;
  }
  order_[number] = &record;
  Schedule();
  if (record.job.state() == Job::PENDING) AskWhetherAcceptable(record);
  return JobOf(record, true);
}

absl::StatusOr<Job> Core::GetJob(const std::string& job_id) const {
  ALPA_ASSIGN_OR_RETURN(const JobRecord* record, Find(job_id));
  return JobOf(*record, true);
}

std::vector<Job> Core::ListJobs() const {
  std::vector<Job> jobs;
  jobs.reserve(order_.size());
  for (const auto& [number, record] : order_) jobs.push_back(JobOf(*record, false));
  return jobs;
}

absl::StatusOr<Job> Core::Stop(const std::string& job_id) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(job_id));
  if (record->final()) return JobOf(*record, true);
  ALPA_RETURN_IF_ERROR(Change(*record, Job::STOPPED, "stopped by a client", "stopped"));
  Retire(*record, absl::CancelledError("the job was stopped"));
  return JobOf(*record, true);
}

absl::StatusOr<Job> Core::Finish(const std::string& job_id) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(job_id));
  if (record->job.state() == Job::SUCCEEDED) return JobOf(*record, true);
  if (record->job.state() == Job::FAILED) return JobFailure(*record);
  if (record->job.state() != Job::RUNNING) {
    return WithReason(FailedPrecondition("job %s is %s; only a RUNNING job can be finished", job_id,
                                         Job::State_Name(record->job.state())),
                      reason::kJobNotRunning);
  }
  if (record->accepted > record->done) {
    return WithReason(FailedPrecondition("job %s has %d steps in flight; wait for them, or stop the job", job_id,
                                         record->accepted - record->done),
                      reason::kStepsInFlight);
  }
  const std::string steps = absl::StrCat(record->done, record->done == 1 ? " step" : " steps", " done");
  ALPA_RETURN_IF_ERROR(Change(*record, Job::SUCCEEDED, steps, "succeeded"));
  Retire(*record, absl::OkStatus());
  return JobOf(*record, true);
}

absl::Status Core::Delete(const std::string& job_id) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(job_id));
  if (!record->final()) {
    return WithReason(FailedPrecondition("job %s is %s and cannot be deleted; stop it first", job_id,
                                         Job::State_Name(record->job.state())),
                      reason::kJobNotFinal);
  }
  if (absl::Status status = store_.Remove(job_id); !status.ok()) return WithReason(status, reason::kStorage);
  const std::string id = job_id;  // a copy, because `job_id` may be part of the erased record
  order_.erase(record->number);
  jobs_.erase(id);
  actions_.Changed(id);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredEvent>> Core::Events(const std::string& job_id) const {
  ALPA_RETURN_IF_ERROR(Find(job_id).status());
  return store_.Events(job_id);
}

absl::StatusOr<proto::Placement> Core::GetPlacement(const std::string& job_id) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(job_id));
  if (record->job.state() == Job::FAILED || record->job.state() == Job::STOPPED) return JobFailure(*record);
  if (record->job.state() != Job::RUNNING) {
    return WithReason(FailedPrecondition("job %s is %s; only a RUNNING job has a placement", job_id,
                                         Job::State_Name(record->job.state())),
                      reason::kJobNotRunning);
  }
  record->last_contact = clock_.Now();
  proto::Placement placement = record->placement;
  placement.set_job_id(job_id);
  placement.set_epoch(record->job.epoch());
  for (const std::string& name : record->workers) {
    const WorkerRecord& worker = workers_.at(name);
    proto::WorkerAddress* address = placement.add_workers();
    address->set_worker(name);
    address->set_tensor_address(worker.tensor_address);
    for (DeviceId device : worker.devices) address->add_devices(device.value());
  }
  return placement;
}

absl::Status Core::JobFailure(const JobRecord& record) const {
  std::string where;
  const std::string& worker = record.job.failed_worker();
  if (!worker.empty() && !absl::StrContains(record.job.reason(), worker)) {
    where = absl::StrCat(" (the first error was on worker ", worker, ")");
  }
  return WithReason(absl::AbortedError(absl::StrCat(
                        "job ", record.job.job_id(),
                        record.job.state() == Job::FAILED ? " failed: " : " ended: ", record.job.reason(), where)),
                    record.job.error_reason().empty() ? reason::kJobEnded : record.job.error_reason());
}

void Core::Fail(JobRecord& record, Job::Cause cause, absl::string_view reason_word, const std::string& message,
                const std::string& worker, const std::string& op) {
  Fail(record, PendingFailure{{}, cause, std::string(reason_word), message, worker, op});
}

void Core::Fail(JobRecord& record, const PendingFailure& failure) {
  if (record.final()) return;
  const std::string message = failure.message;  // a copy, because `failure` may be record.pending_failure
  record.job.set_cause(failure.cause);
  record.job.set_error_reason(failure.reason_word);
  record.job.set_failed_worker(failure.worker);
  record.job.set_failed_op(CleanText(failure.op, kMaxReasonBytes));
  record.pending_failure.reset();
  if (!Change(record, Job::FAILED, message, "failed").ok()) {
    // The store failed, but clients must see the failure of the job nevertheless. The store keeps the job's earlier
    // state. After a restart, Replay fails the job again if this state is RUNNING, and otherwise queues the job.
    record.job.set_state(Job::FAILED);
    record.job.set_reason(CleanText(message, kMaxReasonBytes));
    queue_.erase(record.number);
    live_.erase(record.number);
    actions_.Changed(record.job.job_id());
  }
  Retire(record, absl::AbortedError(message));
}

void Core::Retire(JobRecord& record, const absl::Status& cause) {
  for (const std::string& name : record.workers) {
    const auto worker = workers_.find(name);
    if (worker == workers_.end() || !worker->second.up) continue;
    proto::ToWorker message;
    message.mutable_release()->set_job_id(record.job.job_id());
    message.mutable_release()->set_epoch(record.job.epoch());
    message.mutable_release()->mutable_cause()->set_code(static_cast<int32_t>(cause.code()));
    message.mutable_release()->mutable_cause()->set_message(CleanText(cause.message(), kMaxReasonBytes));
    actions_.SendToWorker(worker->second.session, std::move(message));
  }
  std::erase_if(device_job_, [&](const auto& entry) { return entry.second == record.job.job_id(); });
  record.devices.clear();
  record.workers.clear();
  record.preparing.clear();
  record.placement.Clear();
  record.request.Clear();
  record.commands.clear();
  record.reported.clear();
  record.partial.clear();
  record.pending_failure.reset();
  record.accepted = record.done;
  TrimResults();
  Schedule();
}

void Core::TrimResults() {
  int64_t kept = 0;
  for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
    if (!it->second->final()) continue;
    kept += static_cast<int64_t>(it->second->results.size());
    if (kept > limits_.results_kept_of_ended) it->second->results.clear();
  }
}

void Core::CountStream(const std::string& job_id, int change) {
  const auto found = jobs_.find(job_id);
  if (found == jobs_.end()) return;
  JobRecord& record = found->second;
  record.streams = std::max<int64_t>(0, record.streams + change);
  record.last_contact = clock_.Now();
}

void Core::StopRunning(const std::string& why) {
  for (const auto& [number, record] : std::map<uint64_t, JobRecord*>(live_)) {
    if (record->job.state() == Job::PLANNING && record->workers.empty()) {
      UncountAttempt(*record);
      // If the store fails, the interrupted attempt counts, which is harmless.
      (void)Change(*record, Job::PLANNING, record->job.reason(), "interrupted");
    }
    if (record->job.state() != Job::RUNNING) continue;
    if (Change(*record, Job::STOPPED, why, "stopped").ok()) Retire(*record, absl::CancelledError(why));
  }
}

}  // namespace alpa::coordinator
