#include "client/lib/interruption.h"

#include <chrono>

#include "client/lib/outcome.h"

namespace alpa::client {

void Interruption::Trigger() { Trigger(WithReason(absl::CancelledError("interrupted"), kReasonInterrupted)); }

void Interruption::Trigger(const absl::Status& why) {
  MutexLock lock(mutex_);
  if (status_.ok()) status_ = why;
  for (grpc::ClientContext* call : calls_) call->TryCancel();
}

absl::Status Interruption::status() const {
  MutexLock lock(mutex_);
  return status_;
}

Call::Call(Interruption* interruption, double seconds) : interruption_(interruption) {
  if (seconds > 0) {
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6)));
  }
  if (interruption_ == nullptr) return;
  MutexLock lock(interruption_->mutex_);
  interruption_->calls_.insert(&context_);
  if (!interruption_->status_.ok()) context_.TryCancel();
}

Call::~Call() {
  if (interruption_ == nullptr) return;
  MutexLock lock(interruption_->mutex_);
  interruption_->calls_.erase(&context_);
}

absl::Status Call::Finish(const grpc::Status& status, absl::string_view doing) const {
  if (!status.ok() && interruption_ != nullptr && interruption_->triggered()) return interruption_->status();
  return FromGrpc(status, context_, doing);
}

}  // namespace alpa::client
