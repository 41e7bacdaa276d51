// The part of Core that handles steps. It accepts steps from clients in strict order and sends them to the job's
// workers at once. A step is done when all these workers have reported it done.
//
// The core never splits a command, however many steps it has. Workers refuse changes to the state and batches that
// queued steps need, so they must know all queued steps.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/status.h"
#include "coordinator/core/core.h"
#include "coordinator/core/errors.h"
#include "graph/literal.h"

namespace alpa::coordinator {

using proto::Job;

namespace {

constexpr int64_t kMaxCount = 10'000'000;  // steps per command; workers have the same limit (worker/core/job_ledger.h)
constexpr int32_t kMaxBatchSlots = 1024;   // per job; workers have the same limit (worker/core/job_ledger.h)
constexpr size_t kRecentSteps = 50;        // number of latest steps that give the median step time
constexpr size_t kMaxScalarBytes = 1024;   // maximum size of one scalar aux; a larger one is dropped
// Limits the bytes that one worker can report as sent or in use for one step. Larger values are clamped.
constexpr int64_t kMaxBytes = int64_t{1} << 50;

double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

absl::Status CheckCommand(const proto::StepCommand& command) {
  if (command.count() < 1 || command.count() > kMaxCount) {
    return WithReason(
        InvalidArgument("the command asks for %d steps; 1 to %d are allowed per command", command.count(), kMaxCount),
        reason::kBadRequest);
  }
  const int64_t last_slot = int64_t{command.first_batch_slot()} + command.batch_slots() - 1;
  if (command.first_batch_slot() < 0 || command.batch_slots() < 1 || last_slot >= kMaxBatchSlots) {
    return WithReason(InvalidArgument("the command uses batch slots %d to %d; they must be within 0 to %d",
                                      command.first_batch_slot(), last_slot, kMaxBatchSlots - 1),
                      reason::kBadRequest);
  }
  return absl::OkStatus();
}

// Adds the message's scalars to `result`, sorted by output. Skips invalid scalars, and scalars of outputs that already
// have a value.
void AddScalars(const proto::StepDone& message, int outputs, proto::StepResult* result) {
  for (const proto::ScalarAux& aux : message.scalars()) {
    if (aux.output() < 0 || aux.output() >= outputs || aux.data().size() > kMaxScalarBytes) continue;
    const auto at = std::lower_bound(result->scalars().begin(), result->scalars().end(), aux.output(),
                                     [](const proto::ScalarAux& a, int32_t output) { return a.output() < output; }) -
                    result->scalars().begin();
    if (at < result->scalars_size() && result->scalars(static_cast<int>(at)).output() == aux.output()) continue;
    *result->add_scalars() = aux;
    auto* scalars = result->mutable_scalars();
    std::rotate(scalars->pointer_begin() + at, scalars->pointer_end() - 1, scalars->pointer_end());
  }
}

}  // namespace

absl::Status Core::RunSteps(const proto::StepCommand& command) {
  ALPA_ASSIGN_OR_RETURN(JobRecord * record, Find(command.job_id()));
  if (record->final()) return JobFailure(*record);
  if (record->job.state() != Job::RUNNING) {
    return WithReason(FailedPrecondition("job %s is %s; only a RUNNING job runs steps", command.job_id(),
                                         Job::State_Name(record->job.state())),
                      reason::kJobNotRunning);
  }
  if (command.epoch() != record->job.epoch()) {
    return WithReason(FailedPrecondition("the steps are for epoch %d of job %s, which is in epoch %d", command.epoch(),
                                         command.job_id(), record->job.epoch()),
                      reason::kStaleState);
  }
  ALPA_RETURN_IF_ERROR(CheckCommand(command));
  if (command.first_step() != record->accepted + 1) {
    return WithReason(FailedPrecondition("the command starts at step %d, but the next step of job %s is %d",
                                         command.first_step(), command.job_id(), record->accepted + 1),
                      reason::kStaleState);
  }
  if (draining_) {
    return WithReason(absl::UnavailableError("the coordinator is draining and accepts no more steps"),
                      reason::kDraining);
  }
  if (record->accepted - record->done >= limits_.steps_in_flight) {
    return WithReason(absl::UnavailableError("too many steps in flight"), reason::kBusy);
  }
  record->last_contact = clock_.Now();
  record->accepted += command.count();
  record->commands.push_back({record->accepted, clock_.Now()});
  for (const std::string& name : record->workers) {
    record->reported.try_emplace(name, record->done);
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
  const auto reported = record.reported.find(worker.name);
  if (reported == record.reported.end()) return;  // the worker does not belong to the job, or no step was sent yet
  if (message.error().code() != 0) {
    return OnWorkerError(record, worker, message.error(), absl::StrCat("step ", message.step()));
  }
  // Workers run steps in order and report each step once. Any other report is dropped.
  if (message.step() != reported->second + 1 || message.step() > record.accepted) return;
  ++reported->second;
  // To bound the memory, drops the values of a step that is more than `results_kept` steps after the last done step.
  if (message.step() <= record.done + limits_.results_kept) {
    proto::StepResult& partial = record.partial[message.step()];
    AddScalars(message, record.placement.outputs_size(), &partial);
    partial.set_device_bytes(
        std::max(partial.device_bytes(), std::clamp<int64_t>(message.device_bytes(), 0, kMaxBytes)));
    partial.set_sent_bytes(partial.sent_bytes() + std::clamp<int64_t>(message.sent_bytes(), 0, kMaxBytes));
  }
  int64_t all = record.accepted;
  for (const auto& [name, last] : record.reported) all = std::min(all, last);
  if (all == record.done) return;
  while (record.done < all) FinishStep(record, record.done + 1);
  actions_.Changed(record.job.job_id());
}

void Core::FinishStep(JobRecord& record, int64_t step) {
  auto node = record.partial.extract(step);
  proto::StepResult result = node.empty() ? proto::StepResult() : std::move(node.mapped());
  result.set_step(step);
  const MonotonicTime now = clock_.Now();
  // The step's time starts at its dispatch, or at the end of the previous step if that is later.
  result.set_seconds(Seconds(now - std::max(record.commands.front().sent, record.last_step_done)));
  result.set_unix_ms(
      std::chrono::duration_cast<std::chrono::milliseconds>(clock_.WallNow().time_since_epoch()).count());
  if (record.loss_output >= 0) record.job.set_last_loss(LossOf(record, result));
  record.job.set_device_bytes(result.device_bytes());
  record.step_seconds.Add(result.seconds());
  record.sent_bytes += static_cast<double>(result.sent_bytes());
  record.recent_seconds.push_back(result.seconds());
  if (record.recent_seconds.size() > kRecentSteps) record.recent_seconds.pop_front();
  record.results.push_back(std::move(result));
  if (static_cast<int64_t>(record.results.size()) > limits_.results_kept) record.results.pop_front();
  record.done = step;
  if (record.commands.front().last_step == step) record.commands.pop_front();
  record.last_contact = record.last_step_done = now;
}

double Core::LossOf(const JobRecord& record, const proto::StepResult& result) {
  for (const proto::ScalarAux& aux : result.scalars()) {
    if (aux.output() != record.loss_output || static_cast<Bytes>(aux.data().size()) != record.loss_shape.bytes())
      continue;
    std::vector<std::byte> bytes(aux.data().size());
    std::memcpy(bytes.data(), aux.data().data(), aux.data().size());
    return graph::Literal(record.loss_shape, std::move(bytes)).ValueAt(0);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

absl::StatusOr<Core::Results> Core::ResultsFrom(const std::string& job_id, int64_t step, int limit) const {
  ALPA_ASSIGN_OR_RETURN(const JobRecord* record, Find(job_id));
  Results out;
  if (!record->results.empty()) {
    const int64_t oldest = record->results.front().step(), newest = record->results.back().step();
    for (int64_t at = std::max(step, oldest); at <= newest && static_cast<int>(out.results.size()) < limit; ++at) {
      out.results.push_back(record->results[static_cast<size_t>(at - oldest)]);
    }
  }
  if (!out.results.empty()) return out;
  if (record->job.state() == Job::FAILED || record->job.state() == Job::STOPPED) return JobFailure(*record);
  out.more = !record->final();
  return out;
}

bool Core::StepsInFlight() const {
  return std::any_of(live_.begin(), live_.end(),
                     [](const auto& entry) { return entry.second->accepted > entry.second->done; });
}

}  // namespace alpa::coordinator
