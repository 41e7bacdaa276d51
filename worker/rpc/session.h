// The worker's side of its session with the coordinator: dials, registers, obeys, reports, and dials again.
//
// Model:   Run keeps one session at a time. When it breaks, all jobs are released, since nobody would ever tell how they
//          end, and the worker registers anew, as if it had just started. Waits between attempts grow from 0.1 to 10 s,
//          with jitter.
// Threads: Run blocks its caller; RequestDrain may come from any thread.
// Errors:  Run's result says how the worker should exit.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "cluster/node.h"
#include "worker/core/worker_core.h"

namespace alpa::worker {

class Session {
 public:
  struct Options {
    std::string coordinator;          // host:port
    std::string name;
    std::string version;
    std::string tensor_address;
    std::string transport_address;
    std::string device_kind;
    Bytes device_memory = 0;
    std::optional<cluster::NodeFacts> facts;  // of this machine; nothing: plans on these devices cannot be priced
    Duration coordinator_timeout{0};  // give up after so long without a session; 0: never
    Duration drain_timeout = std::chrono::seconds(30);
    std::function<void()> on_registered;          // first time, and after each reconnect
    std::function<void(const std::string&)> log;  // lines for people
  };
  enum class End {
    kDrained,       // as asked
    kRefused,       // the coordinator does not want this worker; trying again would not help
    kUnreachable,   // coordinator_timeout passed
  };
  struct Result {
    End end = End::kDrained;
    std::string message;
  };

  Session(Options options, WorkerCore& core);
  ~Session();

  Result Run();
  // Finish what runs, release all, leave. Run then returns.
  void RequestDrain();

 private:
  class Connection;
  std::string NewIncarnation() const;

  const Options options_;
  WorkerCore& core_;
  Mutex mutex_;
  CondVar changed_;
  bool draining_ ALPA_GUARDED_BY(mutex_) = false;
  Connection* connection_ ALPA_GUARDED_BY(mutex_) = nullptr;  // of Run's frame
};

}  // namespace alpa::worker
