// Ends calls that are under way when the user says so (Ctrl-C), or when his patience ends.
//
// Model:   calls register their context while they run; Trigger cancels those, and all that register later. What they
//          then answer with is the first Trigger's reason.
// Threads: thread-safe. Trigger may not be called from a signal handler, but from a thread that waits for signals.
#pragma once

#include <grpcpp/client_context.h>

#include <set>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace alpa::client {

class Interruption {
 public:
  void Trigger();  // INTERRUPTED (a reason word of outcome.h)
  void Trigger(const absl::Status& why);
  bool triggered() const { return !status().ok(); }
  absl::Status status() const;  // OK until triggered

 private:
  friend class Call;
  mutable Mutex mutex_;
  absl::Status status_ ALPA_GUARDED_BY(mutex_);
  std::set<grpc::ClientContext*> calls_ ALPA_GUARDED_BY(mutex_);
};

// One call's context: with a deadline where `seconds` > 0, cancelled by `interruption`, which may be null.
class Call {
 public:
  Call(Interruption* interruption, double seconds);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext* context() { return &context_; }
  // The call's status, as FromGrpc; the interruption's where that cut it short.
  absl::Status Finish(const grpc::Status& status, absl::string_view doing) const;

 private:
  Interruption* const interruption_;
  grpc::ClientContext context_;
};

}  // namespace alpa::client
