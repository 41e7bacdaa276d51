// The worker without its sockets: jobs by id, what the coordinator asks for them, and who may use which device.
//
// Model:     Events of a session come in through Prepare, RunSteps and Release; answers go out through the session's
//            JobSink. A device serves one job at a time: a new job on devices of one that is being released waits for it.
// Ownership: backend, transport and clock must outlive it.
// Threads:   thread-safe. Only Drain and the destructor wait.
// Errors:    whatever the coordinator sends, at worst its sink hears an error.
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
    Bytes device_memory = 0;      // limit of each device; 0: none
    Clock* clock = &Clock::Real();
  };
  struct JobProgress {
    std::string job_id;
    JobRuntime::Progress progress;
  };

  explicit WorkerCore(const Options& options);
  ~WorkerCore();  // releases all jobs and waits for them

  // `spec.wait_for` is filled here. A refusal (the same epoch twice, an old one, a device that is taken) is told to
  // `sink` as OnPrepared.
  void Prepare(JobRuntime::Spec spec, std::shared_ptr<JobSink> sink);
  void RunSteps(const std::string& job_id, uint64_t epoch, const StepRange& range, JobSink& sink);
  void Release(const std::string& job_id, uint64_t epoch, const absl::Status& cause, JobSink& sink);
  // The session is gone: nobody can be told, and no step will ever complete.
  void ReleaseAll(const absl::Status& cause);
  // Takes no more jobs and steps, lets what runs end, releases all. False where the deadline came first (then jobs are
  // released all the same).
  bool Drain(MonotonicTime deadline);

  // The job that a tensor call names. kNotFound: unknown; kAborted: the epoch is old.
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
  // By job id: its present epoch last, and before it those that are being released.
  std::map<std::string, std::vector<std::shared_ptr<JobRuntime>>> jobs_ ALPA_GUARDED_BY(mutex_);
};

}  // namespace alpa::worker
