// Steps: accepted from clients in strict order, sent to the job's workers, done when all of them say so.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/errors.h"
#include "graph/literal.h"

namespace alpa::coordinator {

using proto::Job;

namespace {

constexpr int64_t kMaxCount = 10'000'000;
constexpr int32_t kMaxBatchSlots = 1024;
constexpr size_t kRecentSteps = 50;

double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

// An aux that is one float, as a number; NaN otherwise.
double AsLoss(const std::string& data, const graph::Shape& shape) {
  if (shape.elements() != 1 || !graph::IsFloat(shape.dtype) || static_cast<Bytes>(data.size()) != shape.bytes()) {
    return std::nan("");
  }
  std::vector<std::byte> bytes(data.size());
  std::memcpy(bytes.data(), data.data(), data.size());
  return graph::Literal(shape, std::move(bytes)).ValueAt(0);
}

}  // namespace

absl::Status Core::RunSteps(const proto::StepCommand& command) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(command.job_id()));
  if (record->final()) return JobFailure(*record);
  if (record->job.state() != Job::RUNNING) {
    return WithReason(FailedPrecondition("job %s is %s, not RUNNING", command.job_id(), Job::State_Name(record->job.state())),
                      "JOB_NOT_RUNNING");
  }
  if (command.epoch() != record->job.epoch()) {
    return WithReason(FailedPrecondition("steps are for epoch %d of job %s, which is in epoch %d", command.epoch(),
                                         command.job_id(), record->job.epoch()), "STALE_STATE");
  }
  if (command.count() < 1 || command.count() > kMaxCount) {
    return WithReason(InvalidArgument("%d steps were asked for; 1 to %d are allowed at once", command.count(), kMaxCount),
                      "BAD_REQUEST");
  }
  if (command.first_batch_slot() < 0 || command.batch_slots() < 1 ||
      int64_t{command.first_batch_slot()} + command.batch_slots() > kMaxBatchSlots) {
    return WithReason(InvalidArgument("batch slots %d to %d are not within 0 to %d", command.first_batch_slot(),
                                      int64_t{command.first_batch_slot()} + command.batch_slots() - 1, kMaxBatchSlots - 1),
                      "BAD_REQUEST");
  }
  if (command.first_step() != record->accepted + 1) {
    return WithReason(FailedPrecondition("step %d was asked for, but the next one of job %s is %d", command.first_step(),
                                         command.job_id(), record->accepted + 1), "STALE_STATE");
  }
  if (draining_) return WithReason(absl::UnavailableError("the coordinator is draining"), "DRAINING");
  if (record->accepted - record->done >= limits_.steps_in_flight) {
    return WithReason(absl::UnavailableError("too many steps in flight"), "BUSY");
  }
  record->accepted += command.count();
  if (record->in_flight.empty()) record->last_activity = clock_.Now();
  StepRecord step;
  step.step = record->done + 1 + static_cast<int64_t>(record->in_flight.size());
  step.dispatched = clock_.Now();
  step.waiting_for.insert(record->workers.begin(), record->workers.end());
  // Of a long command only the next step is on record; the following ones come as it is done.
  record->in_flight.try_emplace(command.first_step(), std::move(step)).first->second.step = command.first_step();
  for (const std::string& name : record->workers) {
    proto::ToWorker message;
    proto::RunStep* run = message.mutable_run_step();
    run->set_job_id(command.job_id());
    run->set_epoch(command.epoch());
    run->set_first_step(command.first_step());
    run->set_count(command.count());
    run->set_first_batch_slot(command.first_batch_slot());
    run->set_batch_slots(command.batch_slots());
    actions_.SendToWorker(workers_.at(name).session, std::move(message));
  }
  return absl::OkStatus();
}

void Core::OnStepDone(const WorkerRecord& worker, const proto::StepDone& message) {
  const auto found = jobs_.find(message.job_id());
  if (found == jobs_.end()) return;
  JobRecord& record = found->second;
  if (record.job.state() != Job::RUNNING || record.job.epoch() != message.epoch()) return;
  if (message.error().code() != 0) {
    return OnWorkerError(record, worker, message.error(), absl::StrCat("step ", message.step()));
  }
  if (message.step() <= record.done || message.step() > record.accepted) return;
  auto [entry, added] = record.in_flight.try_emplace(message.step());
  StepRecord& step = entry->second;
  if (added) {
    step.step = message.step();
    step.dispatched = clock_.Now();
    step.waiting_for.insert(record.workers.begin(), record.workers.end());
  }
  if (step.waiting_for.erase(worker.name) == 0) return;
  for (const proto::ScalarAux& aux : message.scalars()) *step.result.add_scalars() = aux;
  step.result.set_seconds(std::max(step.result.seconds(), message.seconds()));
  // Steps are done in order; a worker may be ahead of another.
  bool progressed = false;
  while (!record.in_flight.empty()) {
    auto first = record.in_flight.begin();
    if (first->first != record.done + 1 || !first->second.waiting_for.empty()) break;
    proto::StepResult result = std::move(first->second.result);
    const MonotonicTime now = clock_.Now();
    // From dispatch, or from the end of the step before where this one had to wait for it.
    const double seconds = Seconds(now - std::max(first->second.dispatched, record.last_activity));
    result.set_step(first->first);
    result.set_seconds(std::max(seconds, result.seconds()));
    result.set_unix_ms(std::chrono::duration_cast<std::chrono::milliseconds>(clock_.WallNow().time_since_epoch()).count());
    for (const proto::ScalarAux& aux : result.scalars()) {
      if (aux.output() < 0 || aux.output() >= static_cast<int32_t>(record.planned->executable.outputs.size())) continue;
      const double loss = AsLoss(aux.data(), record.planned->executable.outputs[aux.output()].shape);
      if (std::isnan(loss)) continue;
      record.job.set_last_loss(loss);
      break;
    }
    record.recent_seconds.push_back(result.seconds());
    if (record.recent_seconds.size() > kRecentSteps) record.recent_seconds.pop_front();
    record.results.push_back(std::move(result));
    if (static_cast<int64_t>(record.results.size()) > limits_.results_kept) record.results.pop_front();
    record.in_flight.erase(first);
    ++record.done;
    record.last_activity = now;
    progressed = true;
  }
  if (record.in_flight.empty() && record.done < record.accepted) {
    StepRecord next;
    next.step = record.done + 1;
    next.dispatched = clock_.Now();
    next.waiting_for.insert(record.workers.begin(), record.workers.end());
    record.in_flight.emplace(next.step, std::move(next));
  }
  if (progressed) actions_.Changed();
}

absl::StatusOr<Core::Results> Core::ResultsFrom(const std::string& job_id, int64_t step, int limit) const {
  ALPA_ASSIGN_OR_RETURN(const JobRecord* record, Find(job_id));
  Results out;
  if (!record->results.empty()) {
    const int64_t oldest = record->results.front().step();
    for (int64_t at = std::max(step, oldest); at <= record->results.back().step() && static_cast<int>(out.results.size()) < limit; ++at) {
      out.results.push_back(record->results[static_cast<size_t>(at - oldest)]);
    }
  }
  if (!out.results.empty()) return out;
  if (record->job.state() == Job::FAILED || record->job.state() == Job::STOPPED) return JobFailure(*record);
  out.more = !record->final();
  return out;
}

bool Core::StepsInFlight() const {
  return std::any_of(jobs_.begin(), jobs_.end(), [](const auto& entry) { return entry.second.accepted > entry.second.done; });
}

}  // namespace alpa::coordinator
