// Jobs: submission, scheduling, planning, ends.

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/errors.h"
#include "plan/roles.h"
#include "plan/serialize.h"

namespace alpa::coordinator {

using proto::Job;

namespace {

int64_t Millis(WallTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

bool ValidJobId(const std::string& id) {
  return !id.empty() && id.size() <= 63 &&
         std::all_of(id.begin(), id.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

std::string Plural(int64_t n, const std::string& noun) { return absl::StrCat(n, " ", noun, n == 1 ? "" : "s"); }

// The largest event the core writes: long compiler messages are cut.
std::string Shortened(const std::string& text) { return text.size() <= 4000 ? text : text.substr(0, 4000) + "..."; }

}  // namespace

Core::Core(Limits limits, std::string version, Clock& clock, Store& store, Actions& actions)
    : limits_(limits), version_(std::move(version)), clock_(clock), store_(store), actions_(actions) {}

absl::Status Core::Replay() {
  ALPA_ASSIGN_OR_RETURN(cluster_epoch_, store_.NextEpoch());
  // Transport epochs are never used twice, also across restarts.
  next_transport_epoch_ = (cluster_epoch_ << 32) + 1;
  ALPA_ASSIGN_OR_RETURN(std::vector<StoredJob> stored, store_.Jobs());
  for (const StoredJob& entry : stored) {
    JobRecord record;
    if (!record.request.ParseFromString(entry.request) || !record.job.ParseFromString(entry.job)) {
      return absl::DataLossError(absl::StrCat("job ", entry.job_id, " in the store cannot be read"));
    }
    record.stored_request = entry.request;
    ALPA_ASSIGN_OR_RETURN(std::vector<StoredEvent> events, store_.Events(entry.job_id));
    record.events = events.empty() ? 0 : events.back().sequence;
    record.done = record.accepted = record.job.steps_done();
    record.last_activity = clock_.Now();
    order_.push_back(entry.job_id);
    JobRecord& kept = jobs_[entry.job_id] = std::move(record);
    if (kept.final()) continue;
    if (kept.job.state() == Job::PENDING || kept.job.state() == Job::PLANNING) {
      ALPA_RETURN_IF_ERROR(Change(kept, Job::PENDING, "waits for workers", "queued again after a restart"));
    } else {
      Fail(kept, Job::INFRASTRUCTURE, "JOB_FAILED", "the coordinator restarted while the job ran", "", "");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<JobRecord*> Core::Find(const std::string& job_id) {
  const auto found = jobs_.find(job_id);
  if (found == jobs_.end()) {
    return WithReason(absl::NotFoundError(absl::StrCat("there is no job \"", job_id, "\"")), "JOB_NOT_FOUND");
  }
  return &found->second;
}
absl::StatusOr<const JobRecord*> Core::Find(const std::string& job_id) const {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, const_cast<Core*>(this)->Find(job_id));
  return record;
}

Job Core::JobOf(const JobRecord& record) const {
  Job job = record.job;
  job.set_steps_done(record.done);
  if (!record.recent_seconds.empty()) {
    std::vector<double> sorted(record.recent_seconds.begin(), record.recent_seconds.end());
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<int64_t>(sorted.size() / 2), sorted.end());
    job.set_median_step_seconds(sorted[sorted.size() / 2]);
  }
  return job;
}

absl::Status Core::Change(JobRecord& record, Job::State state, const std::string& reason, const std::string& event) {
  const Job before = record.job;
  record.job.set_state(state);
  record.job.set_reason(Shortened(reason));
  record.job.set_changed_unix_ms(Millis(clock_.WallNow()));
  record.job.set_steps_done(record.done);
  StoredJob stored{record.job.job_id(), record.stored_request, record.job.SerializeAsString()};
  const absl::Status status =
      store_.Record(stored, {record.events + 1, record.job.changed_unix_ms(), event, Shortened(reason)});
  if (!status.ok()) {
    record.job = before;
    LogError({.job = record.job.job_id()}, "%s", std::string(status.message()));
    return status;
  }
  ++record.events;
  LogInfo({.job = record.job.job_id()}, "%s%s%s", event, reason.empty() ? "" : ": ", Shortened(reason));
  actions_.Changed();
  return absl::OkStatus();
}

absl::StatusOr<Job> Core::Submit(const proto::SubmitRequest& request) {
  if (draining_) {
    return WithReason(absl::UnavailableError("the coordinator is draining and takes no more jobs"), "DRAINING");
  }
  std::string id = request.job_id();
  const std::string serialized = request.SerializeAsString();
  if (id.empty()) {
    do {
      id = absl::StrCat("job-", cluster_epoch_, "-", next_job_++);
    } while (jobs_.contains(id));
  } else if (!ValidJobId(id)) {
    return WithReason(InvalidArgument("job id \"%s\" is not 1 to 63 of a-z, 0-9 and -", id.substr(0, 80)), "BAD_REQUEST");
  } else if (const auto known = jobs_.find(id); known != jobs_.end()) {
    if (known->second.stored_request == serialized) return JobOf(known->second);
    return WithReason(absl::AlreadyExistsError(absl::StrCat("job ", id, " exists, with another request; choose another id")),
                      "JOB_EXISTS");
  }
  const int64_t live = std::count_if(jobs_.begin(), jobs_.end(), [](const auto& entry) { return !entry.second.final(); });
  if (live >= limits_.max_jobs) {
    return WithReason(absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", live, " jobs")), "QUEUE_FULL");
  }
  auto roles = plan::FromProto(request.roles());
  if (!roles.ok()) return WithReason(roles.status(), "BAD_PROGRAM");
  const proto::PlanRequest& plan = request.plan();
  if (plan.devices() < 0 || plan.data_parallel() < 0 || plan.microbatches() < 0 || request.total_steps() < 0) {
    return WithReason(InvalidArgument("devices, data_parallel, microbatches and total_steps must not be negative"),
                      "BAD_REQUEST");
  }
  if (plan.devices() > 0 && plan.data_parallel() > 0 && plan.devices() != plan.data_parallel()) {
    return WithReason(InvalidArgument("data_parallel=%d contradicts devices=%d", plan.data_parallel(), plan.devices()),
                      "NO_FEASIBLE_PLAN");
  }
  JobRecord record;
  record.request = request;
  record.request.set_job_id(id);
  record.stored_request = serialized;
  record.last_activity = clock_.Now();
  record.job.set_job_id(id);
  record.job.set_name(request.name());
  record.job.set_created_unix_ms(Millis(clock_.WallNow()));
  record.job.set_total_steps(request.total_steps());
  record.job.set_last_loss(std::nan(""));
  ALPA_RETURN_IF_ERROR(Change(record, Job::PENDING, "", "submitted"));
  jobs_[id] = std::move(record);
  order_.push_back(id);
  Schedule();
  return JobOf(jobs_.at(id));
}

absl::StatusOr<Job> Core::GetJob(const std::string& job_id) const {
  ALPA_ASSIGN_OR_RETURN(const JobRecord* record, Find(job_id));
  return JobOf(*record);
}

std::vector<Job> Core::ListJobs() const {
  std::vector<Job> jobs;
  for (const std::string& id : order_) {
    Job job = JobOf(jobs_.at(id));
    job.clear_plan();
    jobs.push_back(std::move(job));
  }
  return jobs;
}

absl::StatusOr<Job> Core::Stop(const std::string& job_id) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(job_id));
  if (record->final()) return JobOf(*record);
  ALPA_RETURN_IF_ERROR(Change(*record, Job::STOPPED, "stopped by a client", "stopped"));
  ReleaseWorkers(*record, absl::CancelledError("the job was stopped"));
  Schedule();
  return JobOf(*record);
}

absl::StatusOr<Job> Core::Finish(const std::string& job_id) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(job_id));
  if (record->job.state() == Job::SUCCEEDED) return JobOf(*record);
  if (record->job.state() != Job::RUNNING) {
    return WithReason(FailedPrecondition("job %s is %s, so it cannot be finished", job_id, Job::State_Name(record->job.state())),
                      "JOB_NOT_RUNNING");
  }
  if (!record->in_flight.empty()) {
    return WithReason(FailedPrecondition("job %s has %d steps in flight; wait for them, or stop it", job_id,
                                         record->accepted - record->done), "STEPS_IN_FLIGHT");
  }
  ALPA_RETURN_IF_ERROR(Change(*record, Job::SUCCEEDED, absl::StrCat(Plural(record->done, "step"), " done"), "succeeded"));
  ReleaseWorkers(*record, absl::OkStatus());
  Schedule();
  return JobOf(*record);
}

absl::Status Core::Delete(const std::string& job_id) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(job_id));
  if (!record->final()) {
    return WithReason(FailedPrecondition("job %s is %s; stop it first", job_id, Job::State_Name(record->job.state())),
                      "JOB_NOT_FINAL");
  }
  ALPA_RETURN_IF_ERROR(store_.Remove(job_id));
  jobs_.erase(job_id);
  order_.erase(std::find(order_.begin(), order_.end(), job_id));
  actions_.Changed();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredEvent>> Core::Events(const std::string& job_id) const {
  ALPA_RETURN_IF_ERROR(Find(job_id).status());
  return store_.Events(job_id);
}

// ---- Scheduling: first come, first served; a job that does not fit holds up those behind it ----

std::vector<DeviceId> Core::FreeDevices(const JobRecord& record, int64_t* total) const {
  *total = 0;
  const auto& named = record.request.plan().workers();
  // By worker: the ones with most free devices first, so that a job spans as few as can be; then by name.
  std::vector<std::pair<const WorkerRecord*, std::vector<DeviceId>>> by_worker;
  for (const auto& [name, worker] : workers_) {
    if (!worker.up || (!named.empty() && std::find(named.begin(), named.end(), name) == named.end())) continue;
    *total += static_cast<int64_t>(worker.devices.size());
    std::vector<DeviceId> free;
    for (DeviceId device : worker.devices) {
      if (!device_job_.contains(device)) free.push_back(device);
    }
    if (!free.empty()) by_worker.emplace_back(&worker, std::move(free));
  }
  const int64_t wanted = std::max(record.request.plan().devices(), record.request.plan().data_parallel());
  // The smallest worker that suffices alone, else the largest first.
  std::stable_sort(by_worker.begin(), by_worker.end(), [&](const auto& a, const auto& b) {
    const auto size_a = static_cast<int64_t>(a.second.size()), size_b = static_cast<int64_t>(b.second.size());
    const bool alone_a = wanted > 0 && size_a >= wanted, alone_b = wanted > 0 && size_b >= wanted;
    if (alone_a != alone_b) return alone_a;
    return alone_a ? size_a < size_b : size_a > size_b;
  });
  std::vector<DeviceId> devices;
  for (const auto& [worker, free] : by_worker) devices.insert(devices.end(), free.begin(), free.end());
  return devices;
}

std::string Core::WaitReason(const JobRecord& record, int64_t free, int64_t total) const {
  const auto& plan = record.request.plan();
  const int64_t wanted = std::max<int64_t>(1, std::max(plan.devices(), plan.data_parallel()));
  const std::string where = plan.workers().empty() ? "" : absl::StrCat(" on ", absl::StrJoin(plan.workers(), ", "));
  if (total == 0) return absl::StrCat("needs ", Plural(wanted, "device"), where, ", there are no workers", where.empty() ? "" : " of that name");
  if (wanted > total) return absl::StrCat("needs ", Plural(wanted, "device"), where, ", the cluster has ", total);
  return absl::StrCat("needs ", Plural(wanted, "device"), where, ", ", free, " free of ", total);
}

void Core::Schedule() {
  std::string ahead;
  for (const std::string& id : order_) {
    JobRecord& record = jobs_.at(id);
    if (record.job.state() != Job::PENDING) continue;
    std::string reason = ahead.empty() ? "" : absl::StrCat("waits behind job ", ahead);
    if (ahead.empty()) {
      int64_t total = 0;
      std::vector<DeviceId> free = FreeDevices(record, &total);
      const auto& plan = record.request.plan();
      const int64_t wanted = std::max(plan.devices(), plan.data_parallel());
      if (!free.empty() && static_cast<int64_t>(free.size()) >= wanted) {
        if (wanted > 0) free.resize(wanted);
        record.devices = std::move(free);
        for (DeviceId device : record.devices) device_job_[device] = id;
        record.job.set_epoch(record.job.epoch() + 1);
        if (!Change(record, Job::PLANNING, "planning", "planning").ok()) {
          for (DeviceId device : record.devices) device_job_.erase(device);
          continue;
        }
        PlanTask task{id, record.job.epoch(), record.request.program_hash(), record.request.roles(), {}, record.devices};
        task.options.devices = plan.devices();
        task.options.data_parallel = plan.data_parallel();
        task.options.microbatches = plan.microbatches();
        task.options.statistics = static_cast<plan::Statistics>(plan.statistics());
        for (const proto::Seed& seed : plan.batch_dims()) task.options.batch_dims.push_back({seed.leaf(), seed.dim()});
        actions_.StartPlanning(std::move(task));
        continue;
      }
      reason = WaitReason(record, static_cast<int64_t>(free.size()), total);
      ahead = id;
    }
    if (record.job.reason() != reason) {
      record.job.set_reason(reason);   // not worth a record: it is worked out anew after a restart
      actions_.Changed();
    }
  }
}

void Core::OnPlanned(const std::string& job_id, uint64_t epoch, absl::StatusOr<Planned> planned) {
  const auto found = jobs_.find(job_id);
  if (found == jobs_.end()) return;
  JobRecord& record = found->second;
  if (record.job.state() != Job::PLANNING || record.job.epoch() != epoch) return;
  if (!planned.ok()) {
    const std::string reason = ReasonOf(planned.status());
    Fail(record, Job::USER, reason.empty() ? "NO_FEASIBLE_PLAN" : reason, std::string(planned.status().message()), "", "");
    return;
  }
  record.planned = std::make_shared<const Planned>(*std::move(planned));
  // Devices that the plan leaves idle go back.
  std::vector<DeviceId> used;
  for (const cluster::Mesh& mesh : record.planned->executable.meshes) {
    used.insert(used.end(), mesh.devices.begin(), mesh.devices.end());
  }
  for (DeviceId device : record.devices) {
    if (std::find(used.begin(), used.end(), device) == used.end()) device_job_.erase(device);
  }
  record.devices = std::move(used);
  record.job.clear_devices();
  for (DeviceId device : record.devices) record.job.add_devices(device.value());
  plan::ToProto(record.planned->plan, record.job.mutable_plan());
  record.job.set_plan_text(record.planned->plan_text);
  std::set<std::string> workers;
  for (DeviceId device : record.devices) {
    const WorkerRecord* holder = HolderOf(device);
    if (holder == nullptr || !holder->up) {
      Fail(record, Job::INFRASTRUCTURE, "JOB_FAILED", "a worker was lost while the job was planned", "", "");
      return;
    }
    workers.insert(holder->name);
  }
  record.workers.assign(workers.begin(), workers.end());
  const std::string reason = absl::StrCat("planned in ", absl::StrFormat("%.2f", record.planned->seconds), " s; compiling on ",
                                          Plural(static_cast<int64_t>(workers.size()), "worker"));
  if (!Change(record, Job::PLANNING, reason, "planned").ok()) return;
  SendPrepare(record);
  Schedule();
}

void Core::Fail(JobRecord& record, Job::Cause cause, const std::string& reason_word, const std::string& message,
                const std::string& worker, const std::string& op) {
  if (record.final()) return;
  record.pending_failure.reset();
  record.job.set_cause(cause);
  record.job.set_error_reason(reason_word);
  record.job.set_failed_worker(worker);
  record.job.set_failed_op(op);
  if (!Change(record, Job::FAILED, message, "failed").ok()) {
    // The disk is gone too: clients must still hear of it.
    record.job.set_state(Job::FAILED);
    record.job.set_reason(message);
    actions_.Changed();
  }
  ReleaseWorkers(record, absl::AbortedError(message));
  Schedule();
}

void Core::ReleaseWorkers(JobRecord& record, const absl::Status& cause) {
  for (const std::string& name : record.workers) {
    const auto worker = workers_.find(name);
    if (worker == workers_.end() || !worker->second.up) continue;
    proto::ToWorker message;
    message.mutable_release()->set_job_id(record.job.job_id());
    message.mutable_release()->set_epoch(record.job.epoch());
    message.mutable_release()->mutable_cause()->set_code(static_cast<int32_t>(cause.code()));
    message.mutable_release()->mutable_cause()->set_message(std::string(cause.message()));
    actions_.SendToWorker(worker->second.session, std::move(message));
  }
  for (auto it = device_job_.begin(); it != device_job_.end();) {
    it = it->second == record.job.job_id() ? device_job_.erase(it) : std::next(it);
  }
  record.preparing.clear();
  record.in_flight.clear();
  record.accepted = record.done;
}

absl::StatusOr<proto::Placement> Core::GetPlacement(const std::string& job_id) const {
  ALPA_ASSIGN_OR_RETURN(const JobRecord* record, Find(job_id));
  if (record->job.state() == Job::FAILED) return JobFailure(*record);
  if (record->job.state() != Job::RUNNING) {
    return WithReason(FailedPrecondition("job %s is %s; its placement is known while it is RUNNING", job_id,
                                         Job::State_Name(record->job.state())), "JOB_NOT_RUNNING");
  }
  const plan::Executable& executable = record->planned->executable;
  proto::Placement placement;
  placement.set_job_id(job_id);
  placement.set_epoch(record->job.epoch());
  for (const cluster::Mesh& mesh : executable.meshes) plan::ToProto(mesh, placement.add_meshes());
  for (const plan::LeafPlacement& leaf : executable.inputs) plan::ToProto(leaf, placement.add_inputs());
  for (bool state : executable.input_is_state) placement.add_input_is_state(state);
  for (const plan::LeafPlacement& leaf : executable.outputs) plan::ToProto(leaf, placement.add_outputs());
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
  if (!record.job.failed_worker().empty()) absl::StrAppend(&where, " (first on worker ", record.job.failed_worker(), ")");
  return WithReason(absl::AbortedError(absl::StrCat("job ", record.job.job_id(), " ",
                                                    record.job.state() == Job::FAILED ? "failed" : "ended", ": ",
                                                    record.job.reason(), where)),
                    record.job.error_reason().empty() ? "JOB_ENDED" : record.job.error_reason());
}

void Core::ReleaseAll(const std::string& why) {
  for (auto& [id, record] : jobs_) {
    if (record.job.state() != Job::RUNNING && record.job.state() != Job::PLANNING) continue;
    if (Change(record, Job::STOPPED, why, "stopped").ok()) ReleaseWorkers(record, absl::CancelledError(why));
  }
}

}  // namespace alpa::coordinator
