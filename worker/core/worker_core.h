// The core of the worker, without sockets. It holds the jobs by id, executes the coordinator's requests, and decides
// which job may use which device.
//
// Model:     A session's requests come in through Prepare, RunSteps and Release. Reports go out through the session's
//            JobSink. A device serves one job at a time. A new job waits while an older job, which is being released,
//            holds a device that the new job needs.
// Ownership: backend, transport and clock must outlive the core.
// Threads:   thread-safe. Only Drain and the destructor wait.
// Errors:    for each bad request of the coordinator, the sink of the session gets an error report.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "worker/core/job_runtime.h"

namespace alpa::worker {

class WorkerCore {
 public:
  struct Options {
    kernels::Backend* backend = nullptr;
    comm::Transport* transport = nullptr;
    Bytes device_memory = 0;      // limit per device; 0: none
    Clock* clock = &Clock::Real();
  };
  struct JobProgress {
    std::string job_id;
    JobRuntime::Progress progress;
  };

  explicit WorkerCore(const Options& options);
  ~WorkerCore();  // releases all jobs and waits for them

  // Starts a job and fills in `spec.wait_for`. Refuses the job if its epoch exists already or is old, if a device does
  // not exist or another job uses it, or if the worker is draining. A refusal goes to OnPrepared of `sink`.
  void Prepare(JobRuntime::Spec spec, std::shared_ptr<JobSink> sink);
  void RunSteps(const std::string& job_id, uint64_t epoch, const StepRange& range, JobSink& sink);
  void Release(const std::string& job_id, uint64_t epoch, const absl::Status& cause, JobSink& sink);
  // Releases all jobs. A session calls this when it ends, because the reports of its jobs would then reach nobody.
  void ReleaseAll(const absl::Status& cause);
  // Refuses new jobs and steps, lets running steps end until the deadline, and then releases all jobs. Returns false if
  // steps were still running at the deadline, or if releasing the jobs took more than 5 s.
  bool Drain(MonotonicTime deadline);

  // Returns the job that a tensor call names. Fails with kNotFound if no such job exists, and with kAborted if the
  // epoch is old.
  absl::StatusOr<std::shared_ptr<JobRuntime>> Find(const std::string& job_id, uint64_t epoch);

  std::vector<JobProgress> progress() const;
  std::vector<Bytes> device_bytes_in_use() const;
  int device_count() const { return device_count_; }

 private:
  void Reap() ALPA_REQUIRES(mutex_);
  bool WaitAllReleased(MonotonicTime deadline);

  const Options options_;
  const int device_count_;
  DeviceMemory memory_;
  mutable Mutex mutex_;
  bool draining_ ALPA_GUARDED_BY(mutex_) = false;
  // The epochs of each job, by job id. The current epoch is last; the epochs before it are being released.
  std::map<std::string, std::vector<std::shared_ptr<JobRuntime>>> jobs_ ALPA_GUARDED_BY(mutex_);
};

}  // namespace alpa::worker
