// The rim around the core: one lock, the planner's thread, the clock's ticks, and the queues to the workers' streams.
//
// Threads: thread-safe. Everything that touches the core takes `mutex`; whoever waits for a change waits on `changed`.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "coordinator/core/core.h"
#include "coordinator/store/program_store.h"

namespace alpa::coordinator {

// Messages to one worker's stream, in order; its writer takes them.
class SessionQueue {
 public:
  void Push(proto::ToWorker message);
  // Blocks for the next message; false when the queue is closed and empty.
  bool Pop(proto::ToWorker* message);
  void Close(const absl::Status& why);
  absl::Status why() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<proto::ToWorker> messages_;
  bool closed_ = false;
  absl::Status why_;
};

class Coordinator : private Actions {
 public:
  Coordinator(Limits limits, std::string version, std::unique_ptr<Store> store, std::unique_ptr<ProgramStore> programs);
  ~Coordinator();
  absl::Status Start();   // replays the store, starts threads
  // Ends waits and threads; the core stays readable.
  void Shutdown();

  // Runs `body(core)` under the lock.
  template <typename Body>
  auto With(Body body) {
    std::lock_guard lock(mutex_);
    return body(core_);
  }
  // Waits until something changed since `seen` (updated), `cancelled` says so (looked at 5 times a second), or shutdown.
  // False where there is nothing more to wait for.
  template <typename Cancelled>
  bool WaitForChange(uint64_t* seen, Cancelled cancelled) {
    std::unique_lock lock(mutex_);
    while (changes_ == *seen && !stopping_) {
      changed_.wait_for(lock, std::chrono::milliseconds(200));
      if (changes_ == *seen && cancelled()) return false;
    }
    *seen = changes_;
    return !stopping_;
  }
  void Poke() {
    std::lock_guard lock(mutex_);
    Changed();
  }
  uint64_t changes() {
    std::lock_guard lock(mutex_);
    return changes_;
  }

  uint64_t OpenSession(std::shared_ptr<SessionQueue> queue);
  void CloseSession(uint64_t session, const std::string& why);
  ProgramStore& programs() { return *programs_; }

  // For /metrics, under the lock as well.
  struct Counters {
    std::map<std::string, int64_t> submits;   // by code
    int64_t plans = 0;
    double planning_seconds = 0;
  };
  Counters counters();
  void CountSubmit(const std::string& code);

 private:
  void SendToWorker(uint64_t session, proto::ToWorker message) override;
  void EndSession(uint64_t session, const absl::Status& why) override;
  void StartPlanning(PlanTask task) override;
  void Changed() override;
  void PlanLoop();
  void TickLoop();

  std::mutex mutex_;
  std::condition_variable changed_, planning_;
  const std::unique_ptr<Store> store_;
  const std::unique_ptr<ProgramStore> programs_;
  Core core_;
  uint64_t changes_ = 0;
  bool stopping_ = false;
  uint64_t next_session_ = 1;
  std::map<uint64_t, std::shared_ptr<SessionQueue>> sessions_;   // shared with the stream's handler
  std::deque<PlanTask> to_plan_;
  Counters counters_;
  std::thread planner_, ticker_;
};

}  // namespace alpa::coordinator
