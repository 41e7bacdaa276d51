// The I/O layer around the core: one lock, the planning threads, a ticker, the queues to workers' streams, and the
// wake-ups of clients' streams.
//
// Threads: thread-safe. All access to the core goes through With. A thread that waits for a job uses a Watch. A thread
//          takes the coordinator's lock before the lock of a queue or of a watch.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "coordinator/core/core.h"
#include "coordinator/core/histogram.h"
#include "coordinator/core/planner.h"
#include "coordinator/rpc/session.h"
#include "coordinator/rpc/watch.h"
#include "coordinator/store/program_store.h"

namespace alpa::coordinator {

class Coordinator : private Actions {
 public:
  Coordinator(Limits limits, std::string version, std::unique_ptr<Store> store, std::unique_ptr<ProgramStore> programs,
              Planner planner);
  ~Coordinator() override;
  // Replays the store and starts the threads. REQUIRES: this is the first call, and the only one.
  absl::Status Start();
  // Closes the sessions, wakes all watches and ends the threads. Cancels the planner's tasks. Each task notices the
  // cancellation at its next call of `progress`. Shutdown returns as soon as all tasks have noticed it. The jobs of
  // these tasks stay in the store as PLANNING or PENDING. The core stays readable. Later calls of Shutdown do nothing.
  void Shutdown();

  // Runs `body(core)` under the lock.
  template <typename Body>
  auto With(Body body) ALPA_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return body(core_);
  }
  bool stopping() const;
  ProgramStore& programs() { return *programs_; }

  // ---- Workers' streams ----
  // Returns the number of the new session.
  uint64_t OpenSession(std::shared_ptr<SessionQueue> queue);
  // Registers the session's worker. On success the Welcome is the first message in the queue.
  absl::Status Register(uint64_t session, const proto::Register& message);
  void CloseSession(uint64_t session, const std::string& why);
  // Waits until all queues to workers are empty or `limit` has passed.
  void FlushSessions(Duration limit);

  // ---- Called by Watch ----
  absl::Status AddWatch(Watch* watch);
  void FollowJob(Watch* watch, const std::string& job_id);
  void RemoveWatch(Watch* watch);

  // ---- Counters that the core cannot keep ----
  struct Counters {
    std::map<std::string, int64_t> submits;             // key: status code
    std::map<std::string, Histogram> planning_seconds;  // key: phase of planning
  };
  Counters counters() const;
  void CountSubmit(const absl::Status& status);

 private:
  struct SessionEntry {
    std::shared_ptr<SessionQueue> queue;  // shared with the stream's handler
    MonotonicTime opened;
    bool registered = false;
  };

  // Called by the core, under the lock.
  void SendToWorker(uint64_t session, proto::ToWorker message) override;
  void EndSession(uint64_t session, const absl::Status& why) override;
  void StartPlanning(PlanTask task) override;
  void Changed(const std::string& job_id) override;

  void PlanLoop();
  void PlanOne(const PlanTask& task);
  void TickLoop();

  mutable Mutex mutex_;
  CondVar tasks_changed_, stopped_;
  const std::unique_ptr<Store> store_;
  const std::unique_ptr<ProgramStore> programs_;
  const Planner planner_;
  const Duration check_timeout_;
  Core core_ ALPA_GUARDED_BY(mutex_);
  bool stopping_ ALPA_GUARDED_BY(mutex_) = false;
  uint64_t next_session_ ALPA_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, SessionEntry> sessions_ ALPA_GUARDED_BY(mutex_);
  std::map<Watch*, bool> watches_ ALPA_GUARDED_BY(mutex_);  // key: open watch; value: whether the core counts it
  std::multimap<std::string, Watch*> followers_ ALPA_GUARDED_BY(mutex_);
  std::deque<PlanTask> tasks_ ALPA_GUARDED_BY(mutex_);
  Counters counters_ ALPA_GUARDED_BY(mutex_);
  std::vector<std::thread> planners_;
  std::thread ticker_;
};

}  // namespace alpa::coordinator
