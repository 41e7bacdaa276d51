// Cancels running gRPC calls, on Ctrl-C or after a time limit.
//
// Model:   Every Call registers its context until the Call is destroyed. Trigger cancels all registered calls, and
//          every call that registers later. A cancelled call fails with the status of the first Trigger.
// Threads: thread-safe. Do not call Trigger from a signal handler; call it from a thread that waits for signals.
#pragma once

#include <grpcpp/client_context.h>

#include <set>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace alpa::client {

class Interruption {
 public:
  void Trigger();  // with the reason word INTERRUPTED (outcome.h)
  void Trigger(const absl::Status& why);
  bool triggered() const { return !status().ok(); }
  absl::Status status() const;  // OK until Trigger, then the status of the first Trigger

 private:
  friend class Call;
  mutable Mutex mutex_;
  absl::Status status_ ALPA_GUARDED_BY(mutex_);
  std::set<grpc::ClientContext*> calls_ ALPA_GUARDED_BY(mutex_);
};

// Owns the context of one gRPC call.
class Call {
 public:
  // `interruption` can cancel the call and must outlive it; null: none. If `seconds` > 0, the call has this deadline.
  Call(Interruption* interruption, double seconds);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext* context() { return &context_; }
  // Converts the call's status as FromGrpc does. If the call failed after Trigger, returns the interruption's status.
  absl::Status Finish(const grpc::Status& status, absl::string_view doing) const;

 private:
  Interruption* const interruption_;
  grpc::ClientContext context_;
};

}  // namespace alpa::client
