#include "worker/core/worker_core.h"

#include <algorithm>
#include <set>

#include "base/status.h"
#include "worker/core/errors.h"

namespace alpa::worker {
namespace {

std::set<int> DevicesOf(const std::vector<Rank>& ranks) {
  std::set<int> devices;
  for (const Rank& rank : ranks) {
    if (rank.local_device >= 0) devices.insert(rank.local_device);
  }
  return devices;
}

}  // namespace

WorkerCore::WorkerCore(const Options& options)
    : options_(options),
      device_count_(options.backend->device_count()),
      memory_(*options.backend, options.device_memory) {}

WorkerCore::~WorkerCore() {
  ReleaseAll(absl::CancelledError("the worker is stopping"));
  WaitAllReleased(MonotonicTime::max());
}

void WorkerCore::Prepare(JobRuntime::Spec spec, std::shared_ptr<JobSink> sink) {
  const std::string job_id = spec.job_id;
  const uint64_t epoch = spec.epoch;
  std::vector<std::shared_ptr<JobRuntime>> superseded;
  absl::Status refusal;
  {
    MutexLock lock(mutex_);
    Reap();
    const std::set<int> devices = DevicesOf(spec.ranks);
    for (const Rank& rank : spec.ranks) {
      if (rank.local_device >= device_count_) {
        refusal = InvalidArgument("this worker has no device %d", rank.local_device);
      }
    }
    if (draining_) refusal = absl::UnavailableError("the worker is draining");
    for (const auto& job : jobs_[job_id]) {
      if (job->epoch() == epoch) {
        refusal = absl::AlreadyExistsError(absl::StrFormat("epoch %d is already prepared", epoch));
      }
      if (job->epoch() > epoch) {
        refusal = absl::AbortedError(absl::StrFormat("epoch %d is old; the current epoch is %d", epoch, job->epoch()));
      }
    }
    for (const auto& [other_id, epochs] : jobs_) {
      for (const auto& job : epochs) {
        if (!refusal.ok() || job->released()) continue;
        const std::set<int> taken = DevicesOf(job->ranks());
        const bool shared = std::any_of(taken.begin(), taken.end(), [&](int d) { return devices.contains(d); });
        if (!shared && other_id != job_id) continue;
        if (other_id != job_id && !job->releasing()) {
          refusal =
              absl::FailedPreconditionError(absl::StrFormat("job %s is using devices that this job needs", other_id));
        } else {
          if (!job->releasing()) superseded.push_back(job);
          spec.wait_for.push_back(job);
        }
      }
    }
    if (refusal.ok()) {
      JobRuntime::Environment environment{options_.backend, options_.transport, &memory_, options_.clock, sink};
      // Older epochs of the job are released below. The driver thread of the new epoch waits for their release.
      jobs_[job_id].push_back(JobRuntime::Start(std::move(spec), std::move(environment)));
    } else if (jobs_[job_id].empty()) {
      jobs_.erase(job_id);
    }
  }
  for (const auto& job : superseded) {
    job->Release(absl::AbortedError(absl::StrFormat("a newer epoch (%d) of the job is starting", epoch)));
  }
  if (!refusal.ok()) {
    sink->OnPrepared(job_id, epoch, Annotate(refusal, absl::StrFormat("job %s epoch %d", job_id, epoch)), 0, 0);
  }
}

absl::StatusOr<std::shared_ptr<JobRuntime>> WorkerCore::Find(const std::string& job_id, uint64_t epoch) {
  MutexLock lock(mutex_);
  const auto found = jobs_.find(job_id);
  if (found != jobs_.end()) {
    for (const auto& job : found->second) {
      if (job->epoch() == epoch) return job;
    }
    const uint64_t present = found->second.back()->epoch();
    if (epoch < present) {
      return WithReason(absl::AbortedError(absl::StrFormat("epoch %d of job %s is old; the current epoch is %d", epoch,
                                                           job_id, present)),
                        "STALE_EPOCH");
    }
  }
  return WithReason(absl::NotFoundError(absl::StrFormat("this worker has no job \"%s\" with epoch %d", job_id, epoch)),
                    "JOB_NOT_FOUND");
}

void WorkerCore::RunSteps(const std::string& job_id, uint64_t epoch, const StepRange& range, JobSink& sink) {
  absl::StatusOr<std::shared_ptr<JobRuntime>> job = Find(job_id, epoch);
  {
    MutexLock lock(mutex_);
    if (draining_) job = absl::UnavailableError("the worker is draining");
  }
  if (job.ok()) {
    (*job)->RunSteps(range);
  } else {
    sink.OnStepDone(job_id, epoch, range.first_step, AsSecondary(job.status()), {}, {});
  }
}

void WorkerCore::Release(const std::string& job_id, uint64_t epoch, const absl::Status& cause, JobSink& sink) {
  const absl::StatusOr<std::shared_ptr<JobRuntime>> job = Find(job_id, epoch);
  // A job that does not exist counts as released.
  if (!job.ok() || !(*job)->Release(cause)) sink.OnReleased(job_id, epoch);
}

void WorkerCore::ReleaseAll(const absl::Status& cause) {
  std::vector<std::shared_ptr<JobRuntime>> jobs;
  {
    MutexLock lock(mutex_);
    Reap();
    for (const auto& [id, epochs] : jobs_) jobs.insert(jobs.end(), epochs.begin(), epochs.end());
  }
  for (const auto& job : jobs) job->Release(cause);
}

bool WorkerCore::WaitAllReleased(MonotonicTime deadline) {
  std::vector<std::shared_ptr<JobRuntime>> jobs;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, epochs] : jobs_) jobs.insert(jobs.end(), epochs.begin(), epochs.end());
  }
  bool all = true;
  for (const auto& job : jobs) all = job->WaitReleased(deadline) && all;
  MutexLock lock(mutex_);
  Reap();
  return all;
}

bool WorkerCore::Drain(MonotonicTime deadline) {
  std::vector<std::shared_ptr<JobRuntime>> jobs;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    for (const auto& [id, epochs] : jobs_) jobs.insert(jobs.end(), epochs.begin(), epochs.end());
  }
  bool idle = true;
  for (const auto& job : jobs) idle = job->WaitIdle(deadline) && idle;
  ReleaseAll(absl::UnavailableError("the worker was drained"));
  return WaitAllReleased(options_.clock->Now() + std::chrono::seconds(5)) && idle;
}

// Forgets released jobs. The driver thread of a released job has nothing left to do, so the join in the job's
// destructor is short.
void WorkerCore::Reap() {
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    std::erase_if(it->second, [](const auto& job) { return job->released(); });
    it = it->second.empty() ? jobs_.erase(it) : std::next(it);
  }
}

std::vector<WorkerCore::JobProgress> WorkerCore::progress() const {
  std::vector<JobProgress> result;
  MutexLock lock(mutex_);
  for (const auto& [id, epochs] : jobs_) {
    for (const auto& job : epochs) {
      if (auto progress = job->progress()) result.push_back({id, *progress});
    }
  }
  return result;
}

std::vector<Bytes> WorkerCore::device_bytes_in_use() const {
  std::vector<Bytes> result;
  for (int device = 0; device < device_count_; ++device) result.push_back(memory_.in_use(device));
  return result;
}

}  // namespace alpa::worker
