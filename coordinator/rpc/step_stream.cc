#include "coordinator/rpc/step_stream.h"

#include <algorithm>

#include "base/status.h"
#include "coordinator/core/errors.h"
#include "coordinator/rpc/status_rpc.h"

namespace alpa::coordinator {
namespace {

constexpr int kResultsAtOnce = 256;             // maximum number of step results copied while the lock is held
constexpr std::chrono::seconds kLookAnyway{1};  // maximum time between two turns if no wake-up comes

std::unique_ptr<grpc::Status> End(grpc::Status status) { return std::make_unique<grpc::Status>(std::move(status)); }

}  // namespace

StepStream::StepStream(Coordinator& coordinator, grpc::CallbackServerContext* context)
    : coordinator_(coordinator), context_(context) {
  auto watch = Watch::Open(coordinator);
  if (!watch.ok()) {
    Finish(ToGrpc(watch.status(), context_));
    return;
  }
  watch_ = *std::move(watch);
  StartRead(&command_);
  thread_ = std::thread([this] { Run(); });
}

void StepStream::OnReadDone(bool ok) {
  {
    MutexLock lock(mutex_);
    (ok ? has_command_ : no_more_commands_) = true;
  }
  watch_->Wake();
}

void StepStream::OnWriteDone(bool ok) {
  MutexLock lock(mutex_);
  write_done_ = true;
  write_ok_ = ok;
  written_.NotifyAll();
}

void StepStream::OnCancel() {
  {
    MutexLock lock(mutex_);
    cancelled_ = true;
  }
  if (watch_ != nullptr) watch_->Wake();
}

void StepStream::OnDone() {
  if (thread_.joinable()) thread_.join();
  delete this;
}

bool StepStream::TakeCommand() {
  {
    MutexLock lock(mutex_);
    if (!has_command_) return false;
  }
  if (job_id_.empty()) {
    job_id_ = command_.job_id();
    next_result_ = std::max<int64_t>(1, command_.first_step());
    last_accepted_ = next_result_ - 1;
    if (!job_id_.empty()) watch_->Follow(job_id_);
  }
  if (command_.job_id() != job_id_ || job_id_.empty()) {
    refused_ = WithReason(InvalidArgument("all commands of a stream must name one and the same job"),
                          reason::kBadRequest);
    return true;
  }
  const absl::Status status = coordinator_.With([&](Core& core) { return core.RunSteps(command_); });
  if (ReasonOf(status) == reason::kBusy) return false;
  if (!status.ok()) {
    refused_ = status;
    return true;
  }
  last_accepted_ = command_.first_step() + command_.count() - 1;
  {
    MutexLock lock(mutex_);
    has_command_ = false;
  }
  StartRead(&command_);
  return true;
}

bool StepStream::Send(const proto::StepResult& result) {
  {
    MutexLock lock(mutex_);
    write_done_ = false;
  }
  StartWrite(&result);
  MutexLock lock(mutex_);
  while (!write_done_) written_.Wait(lock);
  return write_ok_;
}

std::unique_ptr<grpc::Status> StepStream::Turn(bool* progress) {
  const bool took = refused_.ok() && TakeCommand();
  bool sent = false, more = true;
  if (!job_id_.empty()) {
    const auto results =
        coordinator_.With([&](Core& core) { return core.ResultsFrom(job_id_, next_result_, kResultsAtOnce); });
    if (!results.ok()) return End(ToGrpc(results.status(), context_));
    for (const proto::StepResult& result : results->results) {
      if (!Send(result)) return End({grpc::StatusCode::CANCELLED, "the client has disconnected"});
      next_result_ = result.step() + 1;
    }
    sent = !results->results.empty();
    more = results->more;
  }
  *progress = took || sent;
  if (*progress) return nullptr;
  if (!more && refused_.ok()) return End(grpc::Status::OK);
  if (coordinator_.stopping()) {
    return End(
        ToGrpc(WithReason(absl::UnavailableError("the coordinator is shutting down"), reason::kDraining), context_));
  }
  MutexLock lock(mutex_);
  if (cancelled_) return End({grpc::StatusCode::CANCELLED, "cancelled by the client"});
  const bool no_more_commands = no_more_commands_ || !refused_.ok();
  if (no_more_commands && next_result_ > last_accepted_) return End(ToGrpc(refused_, context_));
  return nullptr;
}

void StepStream::Run() {
  for (;;) {
    bool progress = false;
    if (const auto ended = Turn(&progress)) return Finish(*ended);
    if (!progress) watch_->Wait(kLookAnyway);
  }
}

}  // namespace alpa::coordinator
