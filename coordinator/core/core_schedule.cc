// The part of Core that serves the queue. It gives devices to waiting jobs, has the jobs planned, and prepares their
// workers.

#include <algorithm>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/errors.h"
#include "coordinator/core/text.h"
#include "plan/plan_request.h"

namespace alpa::coordinator {

using plan::DevicesNeeded;
using proto::Job;

namespace {

constexpr size_t kPartBytes = 1 << 20;           // maximum part of an executable in one Prepare message
constexpr size_t kMaxPlanTextBytes = 256 << 10;  // maximum size of a job's plan text; longer text is cut
constexpr size_t kMaxProgressBytes = 300;        // maximum size of the planner's progress text; longer text is cut
constexpr absl::string_view kBehind = "waits behind job ";

std::string Plural(int64_t n, absl::string_view noun) { return absl::StrCat(n, " ", noun, n == 1 ? "" : "s"); }

std::string WaitReason(const proto::PlanRequest& plan, int64_t free, int64_t total) {
  const bool named = !plan.workers().empty();
  const std::string needs = absl::StrCat("needs ", Plural(DevicesNeeded(plan), "device"),
                                         named ? absl::StrCat(" on ", absl::StrJoin(plan.workers(), ", ")) : "");
  if (total == 0) return absl::StrCat(needs, ", there are no workers", named ? " of that name" : "");
  if (DevicesNeeded(plan) > total) return absl::StrCat(needs, ", ", named ? "they have " : "the cluster has ", total);
  return absl::StrCat(needs, ", ", free, " free of ", total);
}

bool Serves(const WorkerRecord& worker, const proto::PlanRequest& plan) {
  return worker.up && (plan.workers().empty() ||
                       std::find(plan.workers().begin(), plan.workers().end(), worker.name) != plan.workers().end());
}

}  // namespace

// Orders the free devices so that a job gets few workers. First come the workers with enough free devices for the job,
// sorted by increasing number of free devices. The other workers follow, sorted by decreasing number of free devices.
// Among workers with the same number, the order is by name.
Core::Offer Core::OfferFor(const JobRecord& record, const Reserved& reserved) const {
  Offer offer;
  std::vector<std::vector<DeviceId>> by_worker;
  for (const auto& [name, worker] : workers_) {
    if (!Serves(worker, record.request.plan())) continue;
    std::vector<DeviceId> free;
    for (DeviceId device : worker.devices) {
      if (!device_job_.contains(device)) free.push_back(device);
    }
    offer.total += static_cast<int64_t>(worker.devices.size());
    offer.free += static_cast<int64_t>(free.size());
    if (const auto other = reserved.find(name); other != reserved.end()) {
      if (offer.ahead.empty()) offer.ahead = other->second;
    } else if (!free.empty()) {
      by_worker.push_back(std::move(free));
    }
  }
  const auto needed = static_cast<size_t>(DevicesNeeded(record.request.plan()));
  const bool all = plan::TakesAllDevices(record.request.plan());
  std::stable_sort(by_worker.begin(), by_worker.end(), [&](const auto& a, const auto& b) {
    const bool alone_a = !all && a.size() >= needed, alone_b = !all && b.size() >= needed;
    if (alone_a != alone_b) return alone_a;
    return alone_a ? a.size() < b.size() : a.size() > b.size();
  });
  for (const std::vector<DeviceId>& free : by_worker)
    offer.devices.insert(offer.devices.end(), free.begin(), free.end());
  if (!all && offer.devices.size() > needed) offer.devices.resize(needed);
  return offer;
}

void Core::Schedule() {
  if (draining_) return;
  const auto up = static_cast<size_t>(
      std::count_if(workers_.begin(), workers_.end(), [](const auto& entry) { return entry.second.up; }));
  Reserved reserved;
  for (auto next = queue_.begin(); next != queue_.end();) {
    JobRecord& record = *next->second;
    ++next;  // moves on now, because ScheduleOne may erase the job from the queue
    // Skips a job if all workers are reserved and the job's reason already says so. This keeps long queues cheap.
    const bool settled = !reserved.empty() && reserved.size() == up && record.request.plan().workers().empty() &&
                         record.job.reason() == absl::StrCat(kBehind, reserved.begin()->second);
    if (!settled) ScheduleOne(record, reserved);
  }
}

void Core::ScheduleOne(JobRecord& record, Reserved& reserved) {
  const proto::PlanRequest& plan = record.request.plan();
  Offer offer = OfferFor(record, reserved);
  const int64_t needed = DevicesNeeded(plan);
  if (static_cast<int64_t>(offer.devices.size()) >= needed) return StartPlanning(record, std::move(offer.devices));
  if (needed <= offer.total) {
    for (const auto& [name, worker] : workers_) {
      if (Serves(worker, plan)) reserved.try_emplace(name, record.job.job_id());
    }
  }
  const bool behind = needed <= offer.total && !offer.ahead.empty();
  const std::string why = behind ? absl::StrCat(kBehind, offer.ahead) : WaitReason(plan, offer.free, offer.total);
  if (record.job.reason() != why) {
    record.job.set_reason(why);  // not stored, because the core computes the reason again after a restart
    actions_.Changed(record.job.job_id());
  }
}

void Core::StartPlanning(JobRecord& record, std::vector<DeviceId> devices) {
  record.job.set_epoch(record.job.epoch() + 1);
  record.job.set_planning_attempts(record.job.planning_attempts() + 1);
  if (!Change(record, Job::PLANNING, "planning", "planning").ok()) {
    // The job stays in the queue, and the next Schedule tries again.
    record.job.set_epoch(record.job.epoch() - 1);
    record.job.set_planning_attempts(record.job.planning_attempts() - 1);
    record.job.set_reason("waits until the coordinator can write to its disk");
    return;
  }
  record.devices = std::move(devices);
  for (DeviceId device : record.devices) device_job_[device] = record.job.job_id();
  record.phase_began = clock_.Now();
  record.checked = true;
  record.attempt_counted = true;
  actions_.StartPlanning({record.job.job_id(), record.job.epoch(), record.request.program_hash(),
                          record.request.roles(), record.request.plan(), record.devices,
                          cluster::Only(Inventory(), record.devices),
                          std::chrono::duration<double>(limits_.search_time).count()});
}

void Core::UncountAttempt(JobRecord& record) {
  if (!record.attempt_counted) return;
  record.attempt_counted = false;
  record.job.set_planning_attempts(record.job.planning_attempts() - 1);
}

void Core::AskWhetherAcceptable(JobRecord& record) {
  if (record.checked) return;
  record.checked = true;
  actions_.StartPlanning({record.job.job_id(),
                          record.job.epoch(),
                          record.request.program_hash(),
                          record.request.roles(),
                          record.request.plan(),
                          {},
                          {},
                          0});
}

bool Core::Wants(const PlanTask& task) const {
  const auto found = jobs_.find(task.job_id);
  return found != jobs_.end() && found->second.job.epoch() == task.epoch &&
         found->second.job.state() == (task.devices.empty() ? Job::PENDING : Job::PLANNING);
}

bool Core::OnPlanning(const PlanTask& task, const std::string& progress) {
  if (!Wants(task)) return false;
  proto::Job& job = jobs_.at(task.job_id).job;
  job.set_reason(CleanText(progress, kMaxProgressBytes));  // not stored
  actions_.Changed(task.job_id);
  return true;
}

namespace {

// Returns the cause of a planning error: PLATFORM for internal and storage errors, otherwise USER.
Job::Cause PlanningCause(absl::string_view word) {
  return word == reason::kInternal || word == reason::kStorage ? Job::PLATFORM : Job::USER;
}

}  // namespace

void Core::OnChecked(const std::string& job_id, const absl::Status& status) {
  const auto found = jobs_.find(job_id);
  if (status.ok() || found == jobs_.end() || found->second.job.state() != Job::PENDING) return;
  const std::string word = ReasonOf(status);
  Fail(found->second, PlanningCause(word), word.empty() ? reason::kBadProgram : word, std::string(status.message()));
}

void Core::OnPlanned(const std::string& job_id, uint64_t epoch, absl::StatusOr<Planned> planned) {
  const auto found = jobs_.find(job_id);
  if (found == jobs_.end()) return;
  JobRecord& record = found->second;
  if (record.job.state() != Job::PLANNING || record.job.epoch() != epoch || !record.workers.empty()) return;
  if (!planned.ok()) {
    const std::string word = ReasonOf(planned.status());
    return Fail(record, PlanningCause(word), word.empty() ? reason::kNoFeasiblePlan : word,
                std::string(planned.status().message()));
  }
  std::set<std::string> workers;
  for (DeviceId device : planned->devices) {
    const auto holder = device_job_.find(device);
    if (holder == device_job_.end() || holder->second != job_id) {
      return Fail(record, Job::PLATFORM, reason::kInternal,
                  absl::StrCat("the plan uses device ", device.value(), ", which the job does not hold"));
    }
    workers.insert(HolderOf(device)->name);
  }
  // Release the devices that the plan does not use.
  for (DeviceId device : record.devices) {
    if (std::find(planned->devices.begin(), planned->devices.end(), device) == planned->devices.end()) {
      device_job_.erase(device);
    }
  }
  record.devices = std::move(planned->devices);
  record.workers.assign(workers.begin(), workers.end());
  record.placement = std::move(planned->placement);
  record.loss_output = planned->loss_output;
  record.loss_shape = planned->loss_shape;
  record.plan = std::make_shared<const proto::Plan>(std::move(planned->plan));
  record.spans = std::move(planned->spans);
  record.job.set_plan_text(CleanText(planned->plan_text, kMaxPlanTextBytes));
  record.job.clear_planning_attempts();
  record.attempt_counted = false;
  record.job.clear_devices();
  for (DeviceId device : record.devices) record.job.add_devices(device.value());
  const std::string why = absl::StrFormat("planned in %.2f s; compiling on %s", planned->seconds,
                                          Plural(static_cast<int64_t>(workers.size()), "worker"));
  if (absl::Status status = Change(record, Job::PLANNING, why, "planned"); !status.ok()) {
    return Fail(record, Job::PLATFORM, reason::kStorage, std::string(status.message()));
  }
  record.phase_began = clock_.Now();
  SendPrepare(record, planned->serialized_executable);
  Schedule();
}

void Core::SendPrepare(JobRecord& record, const std::string& executable) {
  const uint64_t transport_epoch = next_transport_epoch_++;
  record.preparing.insert(record.workers.begin(), record.workers.end());
  for (const std::string& name : record.workers) {
    size_t at = 0;
    bool last = false;
    while (!last) {
      proto::ToWorker message;
      proto::Prepare* prepare = message.mutable_prepare();
      prepare->set_job_id(record.job.job_id());
      prepare->set_epoch(record.job.epoch());
      prepare->set_executable_part(executable.substr(at, kPartBytes));
      at += prepare->executable_part().size();
      last = at >= executable.size();
      prepare->set_last_part(last);
      if (last) {
        prepare->set_transport_epoch(transport_epoch);
        for (DeviceId device : record.devices) {
          const WorkerRecord* holder = HolderOf(device);
          proto::Prepare::Rank* rank = prepare->add_ranks();
          rank->set_device(device.value());
          rank->set_worker(holder->name);
          rank->set_transport_address(holder->transport_address);
        }
      }
      actions_.SendToWorker(workers_.at(name).session, std::move(message));
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
  if (!record.preparing.empty() || record.pending_failure) return;
  record.last_contact = record.last_step_done = clock_.Now();
  if (absl::Status status = Change(record, Job::RUNNING, "", "running"); !status.ok()) {
    Fail(record, Job::PLATFORM, reason::kStorage, std::string(status.message()));
  }
}

}  // namespace alpa::coordinator
