#include "coordinator/rpc/step_stream.h"

#include "base/status.h"
#include "coordinator/core/errors.h"

namespace alpa::coordinator {
namespace {

constexpr int kResultsAtOnce = 256;

}  // namespace

grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContextBase* context) {
  if (status.ok()) return grpc::Status::OK;
  if (const std::string reason = ReasonOf(status); !reason.empty()) context->AddTrailingMetadata("alpa-reason", reason);
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

StepStream::StepStream(Coordinator& coordinator, grpc::CallbackServerContext* context)
    : coordinator_(coordinator), context_(context) {
  thread_ = std::thread([this] { Loop(); });
  StartRead(&command_);
}

void StepStream::OnReadDone(bool ok) {
  {
    std::lock_guard lock(mutex_);
    (ok ? has_command_ : no_more_commands_) = true;
  }
  coordinator_.Poke();
}

void StepStream::OnWriteDone(bool ok) {
  // Under the lock: the loop may end the call as soon as it sees this.
  std::lock_guard lock(mutex_);
  write_done_ = true;
  write_ok_ = ok;
  written_.notify_all();
}

void StepStream::OnCancel() {
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  coordinator_.Poke();
}

void StepStream::OnDone() {
  thread_.join();
  delete this;
}

bool StepStream::TakeCommand() {
  {
    std::lock_guard lock(mutex_);
    if (!has_command_) return false;
  }
  if (job_id_.empty()) {
    job_id_ = command_.job_id();
    next_result_ = std::max<int64_t>(1, command_.first_step());
    last_accepted_ = next_result_ - 1;
  }
  if (command_.job_id() != job_id_ || job_id_.empty()) {
    refused_ = WithReason(InvalidArgument("one stream is for the steps of one job"), "BAD_REQUEST");
    return true;
  }
  const absl::Status status = coordinator_.With([&](Core& core) { return core.RunSteps(command_); });
  if (ReasonOf(status) == "BUSY") return false;
  if (!status.ok()) {
    refused_ = status;
    return true;
  }
  last_accepted_ = command_.first_step() + command_.count() - 1;
  {
    std::lock_guard lock(mutex_);
    has_command_ = false;
  }
  StartRead(&command_);
  return true;
}

bool StepStream::Send(const proto::StepResult& result) {
  std::unique_lock lock(mutex_);
  write_done_ = false;
  StartWrite(&result);
  written_.wait(lock, [this] { return write_done_; });
  return write_ok_;
}

void StepStream::Loop() {
  uint64_t seen = coordinator_.changes();
  for (;;) {
    const bool took = refused_.ok() && TakeCommand();
    bool sent = false;
    if (!job_id_.empty()) {
      const auto results =
          coordinator_.With([&](Core& core) { return core.ResultsFrom(job_id_, next_result_, kResultsAtOnce); });
      if (!results.ok()) return Finish(ToGrpc(results.status(), context_));
      for (const proto::StepResult& result : results->results) {
        if (!Send(result)) return Finish({grpc::StatusCode::CANCELLED, "the client is gone"});
        next_result_ = result.step() + 1;
        sent = true;
      }
      if (!sent && !results->more && refused_.ok() && !took) return Finish(grpc::Status::OK);
    }
    if (took || sent) continue;
    {
      std::lock_guard lock(mutex_);
      if (cancelled_) return Finish({grpc::StatusCode::CANCELLED, "cancelled by the client"});
      if ((no_more_commands_ || !refused_.ok()) && next_result_ > last_accepted_) {
        return Finish(ToGrpc(refused_, context_));
      }
    }
    if (!coordinator_.WaitForChange(&seen, [] { return false; })) {
      return Finish(ToGrpc(WithReason(absl::UnavailableError("the coordinator is shutting down"), "DRAINING"), context_));
    }
  }
}

}  // namespace alpa::coordinator
