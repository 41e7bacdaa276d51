#include "worker/core/job_runtime.h"

#include <algorithm>

#include "base/status.h"
#include "worker/core/errors.h"
#include "worker/core/job_internal.h"

namespace alpa::worker {
namespace {
// The longest time that a new job waits for older jobs to release its devices.
constexpr std::chrono::seconds kWaitForDevices{30};
}

std::shared_ptr<JobRuntime> JobRuntime::Start(Spec spec, Environment environment) {
  std::shared_ptr<JobRuntime> job(new JobRuntime(std::move(spec), std::move(environment)));
  job->driver_ = std::thread([raw = job.get()] { raw->Drive(); });
  return job;
}

JobRuntime::JobRuntime(Spec spec, Environment environment)
    : spec_(std::move(spec)), environment_(std::move(environment)), copy_(*environment_.backend) {}

JobRuntime::~JobRuntime() { driver_.join(); }

void JobRuntime::Drive() {
  const MonotonicTime begin = environment_.clock->Now();
  absl::Status status = Prepare();
  bool usable = false;
  {
    MutexLock lock(mutex_);
    if (status.ok() && releasing_) status = release_cause_;
    if (status.ok()) {
      phase_ = Phase::kReady;
      usable = true;
    }
  }
  const double seconds = std::chrono::duration<double>(environment_.clock->Now() - begin).count();
  if (usable) {
    Bytes temporary_bytes = 0;
    for (const auto& device : devices_) {
      temporary_bytes = std::max(temporary_bytes, device->executor->temporary_bytes());
    }
    environment_.sink->OnPrepared(spec_.job_id, spec_.epoch, status, seconds, temporary_bytes);
    DriveSteps();
  } else {
    MutexLock lock(mutex_);
    if (!releasing_) releasing_ = true, release_cause_ = status;
  }
  TearDown();
  bool report_release = false;
  {
    MutexLock lock(mutex_);
    phase_ = Phase::kReleased;
    report_release = report_release_;  // false if preparing failed and nobody called Release
    changed_.NotifyAll();
  }
  // A failure is reported only after the teardown, because the coordinator may give the devices to another job as soon
  // as it has the report.
  if (!usable) environment_.sink->OnPrepared(spec_.job_id, spec_.epoch, status, seconds, 0);
  if (report_release) environment_.sink->OnReleased(spec_.job_id, spec_.epoch);
}

void JobRuntime::DriveSteps() {
  int64_t step = 0;
  int32_t batch_slot = 0;
  while (NextStep(&step, &batch_slot)) {
    if (absl::Status enqueued = EnqueueStep(step, batch_slot); !enqueued.ok()) {
      Fail(Annotate(enqueued, absl::StrFormat("step %d", step)));
      ReportFinishedSteps();
    }
    MutexLock lock(mutex_);
    enqueuing_ = false;
    changed_.NotifyAll();
  }
}

absl::Status JobRuntime::Prepare() {
  for (const std::shared_ptr<JobRuntime>& other : spec_.wait_for) {
    if (!other->WaitReleased(environment_.clock->Now() + kWaitForDevices)) {
      return absl::UnavailableError(absl::StrFormat("job %s epoch %d did not release its devices within %d s",
                                                    other->job_id(), other->epoch(), kWaitForDevices.count()));
    }
  }
  spec_.wait_for.clear();
  ALPA_ASSIGN_OR_RETURN(executable_, spec_.load());
  ALPA_RETURN_IF_ERROR(Annotate(plan::Verify(executable_), "executable"));
  ALPA_ASSIGN_OR_RETURN(layout_, MakeLayout(executable_, spec_.ranks));
  channels_ = MakeChannelTable(executable_);
  if (channels_.size() > kMaxChannels) {
    return Unimplemented("the executable has collectives over %d sets of mesh axes; at most %d are supported",
                         channels_.size(), kMaxChannels);
  }
  for (bool state : executable_.input_is_state) wanted_batch_.push_back(!state);
  wanted_aux_.assign(layout_.outputs.size(), true);

  std::vector<comm::Transport::Peer> peers;
  std::vector<int> local_ranks;  // in order of rank; Open returns the endpoints in the same order
  for (size_t r = 0; r < layout_.ranks.size(); ++r) {
    const bool local = layout_.ranks[r].local_device >= 0;
    peers.push_back({layout_.ranks[r].transport_address, local});
    if (local) local_ranks.push_back(static_cast<int>(r));
  }
  ALPA_ASSIGN_OR_RETURN(auto endpoints, environment_.transport->Open(spec_.transport_epoch, peers));
  if (endpoints.size() != local_ranks.size()) {
    return Internal("the transport opened %d endpoints for %d local ranks", endpoints.size(), local_ranks.size());
  }
  {
    MutexLock lock(abort_mutex_);
    for (const LocalDevice& local : layout_.devices) {
      Device& device = *devices_.emplace_back(std::make_unique<Device>());
      const auto at = std::find(local_ranks.begin(), local_ranks.end(), local.rank);
      device.endpoint = std::make_unique<comm::CountingEndpoint>(std::move(endpoints[at - local_ranks.begin()]));
      device.groups = std::make_unique<DeviceGroups>(executable_, layout_, channels_, local, *device.endpoint);
    }
    can_abort_ = true;
  }
  for (size_t local = 0; local < devices_.size(); ++local) {
    DeviceExecutor::Parts parts;
    parts.executable = &executable_;
    parts.layout = &layout_;
    parts.local = static_cast<int>(local);
    parts.endpoint = devices_[local]->endpoint.get();
    parts.groups = devices_[local]->groups.get();
    parts.backend = environment_.backend;
    parts.memory = environment_.memory;
    parts.cancel = &cancel_;
    parts.clock = environment_.clock;
    ALPA_ASSIGN_OR_RETURN(devices_[local]->executor, DeviceExecutor::Make(parts));
  }
  for (size_t i = 0; i < layout_.inputs.size(); ++i) {
    if (!layout_.input_is_state[i]) continue;
    for (const Tile& tile : layout_.inputs[i].tiles) {
      if (tile.region.size == tile.dims) continue;
      const int device = layout_.devices[tile.local].device;
      copy_.Zero(device, devices_[tile.local]->executor->state(tile.slot));
      ALPA_RETURN_IF_ERROR(copy_.Flush(device));
    }
  }
  {
    MutexLock lock(mutex_);
    ledger_ = JobLedger(layout_);
  }
  for (size_t local = 0; local < devices_.size(); ++local) {
    devices_[local]->waiter = std::thread([this, local] { Follow(static_cast<int>(local)); });
  }
  return absl::OkStatus();
}

bool JobRuntime::Release(const absl::Status& cause) {
  {
    MutexLock lock(mutex_);
    if (phase_ == Phase::kReleased) return false;
    report_release_ = true;
    if (releasing_) return true;
    releasing_ = true;
    release_cause_ = cause.ok() ? absl::CancelledError("the job was released") : cause;
    queued_.clear();
    changed_.NotifyAll();
  }
  AbortDevices(cause.ok() ? absl::CancelledError("the job was released") : cause);
  return true;
}

void JobRuntime::AbortDevices(const absl::Status& cause) {
  const absl::Status consequence =
      AsSecondary(absl::Status(absl::StatusCode::kAborted, absl::StrCat("aborted: ", cause.message())));
  cancel_.Cancel(consequence);
  MutexLock lock(abort_mutex_);
  if (!can_abort_) return;
  for (const auto& device : devices_) device->groups->Abort(consequence);
}

void JobRuntime::TearDown() {
  {
    MutexLock lock(mutex_);
    queued_.clear();
  }
  // If Release was called before the endpoints existed, it could not abort them.
  AbortDevices(absl::CancelledError("the job was released"));
  for (const auto& device : devices_) {
    // This wait ends when all enqueued work has run or was skipped. Its status is ignored, because a failure is already
    // recorded.
    if (device->executor != nullptr) static_cast<void>(device->executor->stream().Record()->Wait());
  }
  for (const auto& device : devices_) {
    // The messages must be dropped before the buffers of batches and aux are freed.
    if (device->executor != nullptr) device->executor->DropMessages();
  }
  for (const auto& device : devices_) {
    {
      MutexLock lock(device->mutex);
      device->closed = true;
      device->changed.NotifyAll();
    }
    if (device->waiter.joinable()) device->waiter.join();
  }
  {
    MutexLock lock(mutex_);
    while (state_accesses_ > 0 || other_accesses_ > 0) changed_.Wait(lock);
    in_flight_.clear();
    batches_.clear();
    kept_aux_.clear();
  }
  aux_pool_.Close();
  MutexLock lock(abort_mutex_);
  can_abort_ = false;
  for (const auto& device : devices_) {
    const bool used = device->executor != nullptr;
    if (used) device->executor->stream().Reset();
    device->executor.reset();
    device->groups.reset();
  }
  for (const auto& device : devices_) device->endpoint.reset();
}

bool JobRuntime::releasing() const {
  MutexLock lock(mutex_);
  return releasing_;
}

bool JobRuntime::released() const {
  MutexLock lock(mutex_);
  return phase_ == Phase::kReleased;
}

bool JobRuntime::WaitReleased(MonotonicTime deadline) {
  MutexLock lock(mutex_);
  while (phase_ != Phase::kReleased) {
    if (!changed_.WaitUntil(lock, deadline) && environment_.clock->Now() >= deadline) return phase_ == Phase::kReleased;
  }
  return true;
}

bool JobRuntime::WaitIdle(MonotonicTime deadline) {
  MutexLock lock(mutex_);
  queued_.clear();
  while (enqueuing_ || !in_flight_.empty()) {
    if (!changed_.WaitUntil(lock, deadline) && environment_.clock->Now() >= deadline) return false;
  }
  return true;
}

absl::Status JobRuntime::CheckReady() const {
  if (releasing_ || phase_ == Phase::kReleased) {
    return WithReason(absl::AbortedError(absl::StrFormat("job %s epoch %d was released: %s", spec_.job_id, spec_.epoch,
                                                         release_cause_.message())),
                      "JOB_RELEASED");
  }
  if (phase_ == Phase::kPreparing) {
    return WithReason(absl::FailedPreconditionError(absl::StrFormat("job %s epoch %d is still being prepared",
                                                                    spec_.job_id, spec_.epoch)),
                      "NOT_READY");
  }
  return absl::OkStatus();
}

}  // namespace alpa::worker
