// A wake-up signal for a client stream that follows a job.
//
// Model:   A stream opens a Watch, names the job to follow as soon as it knows the job, and waits. Wait returns at once
//          if a wake-up came since the last Wait. The stream therefore misses no change that happens after it has read
//          the core and before it waits.
// Threads: only one thread may call Wait. Any thread may call Wake, even while it holds the coordinator's lock.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace alpa::coordinator {

class Coordinator;

class Watch {
 public:
  // kResourceExhausted with reason TOO_MANY_STREAMS if the maximum number of watches is open. The number is limited
  // because each watch holds a thread.
  static absl::StatusOr<std::unique_ptr<Watch>> Open(Coordinator& coordinator);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // From now on, changes of the job wake this watch, and the job counts as followed. REQUIRES: called at most once.
  void Follow(const std::string& job_id);
  void Wake();
  // Blocks until Wake is called or `limit` has passed. Returns at once if Wake was called since the last Wait returned.
  void Wait(Duration limit);

 private:
  friend class Coordinator;
  explicit Watch(Coordinator& coordinator) : coordinator_(coordinator) {}

  Coordinator& coordinator_;
  std::string job_id_;  // guarded by the coordinator's lock
  Mutex mutex_;
  CondVar changed_;
  bool woken_ ALPA_GUARDED_BY(mutex_) = false;
};

}  // namespace alpa::coordinator
