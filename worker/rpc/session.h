// The worker's side of the session with the coordinator. It connects, registers, carries out requests, sends reports,
// and reconnects.
//
// Model:   Run keeps one session at a time. If the session breaks, Run releases all jobs, because nobody would receive
//          their reports. The worker then registers again, as if it had just started. The waits between attempts grow
//          from 0.1 to 10 s, with jitter.
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
    std::optional<cluster::NodeFacts> facts;  // of this machine; if unset, plans on its devices have no predicted cost
    Duration coordinator_timeout{0};  // give up after this time without a session; 0: never
    Duration drain_timeout = std::chrono::seconds(30);
    std::function<void()> on_registered;          // called at the first registration and after each reconnect
    std::function<void(const std::string&)> log;  // called with human-readable lines
  };
  enum class End {
    kDrained,       // as requested
    kRefused,       // the coordinator refuses this worker; another attempt would not help
    kUnreachable,   // coordinator_timeout passed
  };
  struct Result {
    End end = End::kDrained;
    std::string message;
  };

  Session(Options options, WorkerCore& core);
  ~Session();

  Result Run();
  // Lets running steps end, releases all jobs and ends the session. Run then returns.
  void RequestDrain();

 private:
  class Connection;
  std::string NewIncarnation() const;

  const Options options_;
  WorkerCore& core_;
  Mutex mutex_;
  CondVar changed_;
  bool draining_ ALPA_GUARDED_BY(mutex_) = false;
  Connection* connection_ ALPA_GUARDED_BY(mutex_) = nullptr;  // a local of Run
};

}  // namespace alpa::worker
