// What a client's stream that follows a job waits on.
//
// Model:   A stream opens a Watch, tells it which job to follow once it knows, and waits. Whatever woke it since the
// last
//          wait counts, so that nothing is missed between a look at the core and the wait.
// Threads: one thread waits; anybody may wake. The coordinator's lock may be held by who wakes.
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
  // kResourceExhausted with TOO_MANY_STREAMS where as many are open as may be: each holds a thread.
  static absl::StatusOr<std::unique_ptr<Watch>> Open(Coordinator& coordinator);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // From now on the job's changes wake it, and the job counts as followed. REQUIRES: called at most once.
  void Follow(const std::string& job_id);
  void Wake();
  // Blocks until it was woken since the last return, at most for `limit`.
  void Wait(Duration limit);

 private:
  friend class Coordinator;
  explicit Watch(Coordinator& coordinator) : coordinator_(coordinator) {}

  Coordinator& coordinator_;
  std::string job_id_;  // of the coordinator's lock
  Mutex mutex_;
  CondVar changed_;
  bool woken_ ALPA_GUARDED_BY(mutex_) = false;
};

}  // namespace alpa::coordinator
