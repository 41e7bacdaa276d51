// The part of JobRuntime that accepts, enqueues, awaits and reports steps.
#include <algorithm>

#include "base/status.h"
#include "worker/core/errors.h"
#include "worker/core/job_internal.h"

namespace alpa::worker {

void JobRuntime::RunSteps(const StepRange& range) {
  absl::Status refusal;
  {
    MutexLock lock(mutex_);
    refusal = CheckReady();
    if (refusal.ok()) refusal = ledger_.AcceptSteps(range);
    if (refusal.ok()) {
      queued_.push_back(range);
      changed_.NotifyAll();
      return;
    }
  }
  MutexLock report(report_mutex_);
  environment_.sink->OnStepDone(spec_.job_id, spec_.epoch, range.first_step, refusal, {}, {});
}

// Waits for a step that can be enqueued. Returns false if the job is being released.
bool JobRuntime::NextStep(int64_t* step, int32_t* batch_slot) {
  MutexLock lock(mutex_);
  while (!releasing_ && (queued_.empty() || in_flight_.size() >= kMaxStepsInFlight || state_accesses_ > 0)) {
    changed_.Wait(lock);
  }
  if (releasing_) return false;
  enqueuing_ = true;
  StepRange& range = queued_.front();
  *step = range.first_step;
  *batch_slot = range.first_slot();
  if (range.count == 1) {
    queued_.pop_front();
  } else {
    range.cycle = range.batch_slots > 0 ? (range.cycle + 1) % range.batch_slots : 0;
    ++range.first_step;
    --range.count;
  }
  return true;
}

absl::Status JobRuntime::EnqueueStep(int64_t number, int32_t batch_slot) {
  std::shared_ptr<BufferSet> aux = aux_pool_.Reuse();
  if (aux == nullptr) {
    ALPA_ASSIGN_OR_RETURN(auto made, BufferSet::Make(executable_, layout_, layout_.outputs, wanted_aux_,
                                                     *environment_.memory, copy_));
    aux = aux_pool_.Share(std::move(made));
  }
  auto step = std::make_shared<Step>();
  step->step = number;
  step->aux = aux;
  step->times.resize(devices_.size());
  step->events.resize(devices_.size());
  step->waiting_for = devices_.size();
  for (size_t output = 0; output < layout_.outputs.size(); ++output) {
    if (layout_.outputs[output].reporter < 0) continue;
    InlineAux& scalar = step->scalars.emplace_back();
    scalar.output = static_cast<int32_t>(output);
    scalar.bytes.resize(layout_.outputs[output].shape.bytes());
  }
  BufferSet* batch = nullptr;
  {
    MutexLock lock(mutex_);
    ALPA_RETURN_IF_ERROR(ledger_.failure());
    ALPA_ASSIGN_OR_RETURN(batch, BatchBuffers(batch_slot));  // a put made this set, unless the program takes no batch
    if (in_flight_.empty()) running_since_ = environment_.clock->Now();
    in_flight_.push_back(step);
  }
  for (size_t local = 0; local < devices_.size(); ++local) {
    DeviceExecutor& executor = *devices_[local]->executor;
    const int device = executor.device().device;
    std::vector<kernels::Buffer*> io = batch->OfDevice(static_cast<int>(local));
    const std::vector<kernels::Buffer*>& outputs = aux->OfDevice(static_cast<int>(local));
    for (size_t slot = 0; slot < io.size(); ++slot) {
      if (outputs[slot] != nullptr) io[slot] = outputs[slot];
    }
    executor.EnqueueStep(io, &step->times[local]);
    for (InlineAux& scalar : step->scalars) {
      const LeafLayout& leaf = layout_.outputs[scalar.output];
      if (leaf.reporter != static_cast<int>(local)) continue;
      for (const Tile& tile : leaf.tiles) {
        if (tile.local != leaf.reporter || scalar.bytes.empty()) continue;
        environment_.backend->CopyToHost(device, *outputs[tile.slot.value()], 0, std::span(scalar.bytes));
      }
    }
    step->events[local] = executor.stream().Record();
    MutexLock lock(devices_[local]->mutex);
    devices_[local]->steps.push_back(step);
    devices_[local]->changed.NotifyAll();
  }
  return absl::OkStatus();
}

// Runs in the waiter thread of one device. Waits for the device's steps, in order.
void JobRuntime::Follow(int local) {
  Device& device = *devices_[local];
  bool failed = false;
  while (true) {
    std::shared_ptr<Step> step;
    {
      MutexLock lock(device.mutex);
      while (device.steps.empty() && !device.closed) device.changed.Wait(lock);
      if (device.steps.empty()) return;
      step = std::move(device.steps.front());
      device.steps.pop_front();
    }
    absl::Status status = step->events[local]->Wait();
    if (!status.ok() && !failed) {
      failed = true;
      const std::string op = PayloadOf(status, kOpPayload);
      status =
          Annotate(status, absl::StrFormat("step %d, device %d", step->step, device.executor->device().id.value()));
      status = WithPayload(status, kOpPayload, absl::StrCat(device.executor->CurrentOp(), op.empty() ? "" : ": ", op));
      Fail(status);
    }
    Arrive(step, status);
    step.reset();
    ReportFinishedSteps();
  }
}

void JobRuntime::Fail(const absl::Status& cause) {
  {
    MutexLock lock(mutex_);
    ledger_.Fail(cause);
    queued_.clear();
  }
  AbortDevices(cause);
}

void JobRuntime::Arrive(const std::shared_ptr<Step>& step, const absl::Status& status) {
  MutexLock lock(mutex_);
  --step->waiting_for;
  if (step->status.ok()) step->status = status;
}

void JobRuntime::ReportFinishedSteps() {
  MutexLock report(report_mutex_);
  while (true) {
    std::shared_ptr<Step> step;
    absl::Status status;
    bool report_it = true;
    int64_t number = 0;
    {
      MutexLock lock(mutex_);
      if (in_flight_.empty()) {
        // No step is in flight. A failure that is not reported yet means that a step could not be enqueued.
        if (ledger_.failure().ok() || failure_reported_ || releasing_) return;
        failure_reported_ = true;
        status = ledger_.failure();
        number = ledger_.version() + 1;
      } else if (in_flight_.front()->waiting_for > 0) {
        return;
      } else {
        step = std::move(in_flight_.front());
        in_flight_.pop_front();
        number = step->step;
        running_since_ = environment_.clock->Now();
        if (step->status.ok()) {
          ledger_.StepDone(number);
          kept_aux_[number] = step->aux;
          while (kept_aux_.begin()->first <= number - kKeptAuxSteps) kept_aux_.erase(kept_aux_.begin());
        } else {
          status = ledger_.failure();
          report_it = !failure_reported_ && !releasing_;
          failure_reported_ = true;
        }
        changed_.NotifyAll();
      }
    }
    if (!report_it) continue;
    StepCost cost;
    if (step != nullptr && status.ok()) {
      for (const DeviceTimes& times : step->times) {
        cost.seconds = std::max(cost.seconds, std::chrono::duration<double>(times.end - times.begin).count());
        cost.sent_bytes += times.sent_bytes;
      }
      for (const LocalDevice& local : layout_.devices) {
        cost.device_bytes = std::max(cost.device_bytes, environment_.memory->in_use(local.device));
      }
    }
    environment_.sink->OnStepDone(spec_.job_id, spec_.epoch, number, status, cost,
                                  status.ok() && step != nullptr ? std::move(step->scalars) : std::vector<InlineAux>());
  }
}

std::optional<JobRuntime::Progress> JobRuntime::progress() const {
  MutexLock lock(mutex_);
  if (in_flight_.empty() || releasing_) return std::nullopt;
  return Progress{in_flight_.front()->step,
                  std::chrono::duration<double>(environment_.clock->Now() - running_since_).count()};
}

}  // namespace alpa::worker
