#include "worker/rpc/outbox.h"

#include "worker/rpc/status_rpc.h"

namespace alpa::worker {

void Outbox::OnPrepared(const std::string& job_id, uint64_t epoch, const absl::Status& status, double seconds,
                        Bytes temporary_bytes) {
  proto::FromWorker message;
  proto::Prepared* prepared = message.mutable_prepared();
  prepared->set_job_id(job_id);
  prepared->set_epoch(epoch);
  if (!status.ok()) ToProto(status, prepared->mutable_error());
  prepared->set_seconds(seconds);
  prepared->set_temporary_bytes(temporary_bytes);
  Push(std::move(message));
}

void Outbox::OnStepDone(const std::string& job_id, uint64_t epoch, int64_t step, const absl::Status& status,
                        const StepCost& cost, std::vector<InlineAux> scalars) {
  proto::FromWorker message;
  proto::StepDone* done = message.mutable_step_done();
  done->set_job_id(job_id);
  done->set_epoch(epoch);
  done->set_step(step);
  if (!status.ok()) ToProto(status, done->mutable_error());
  done->set_seconds(cost.seconds);
  done->set_sent_bytes(cost.sent_bytes);
  done->set_device_bytes(cost.device_bytes);
  for (const InlineAux& scalar : scalars) {
    proto::ScalarAux* out = done->add_scalars();
    out->set_output(scalar.output);
    out->set_data(scalar.bytes.data(), scalar.bytes.size());
  }
  Push(std::move(message));
}

void Outbox::OnReleased(const std::string& job_id, uint64_t epoch) {
  proto::FromWorker message;
  message.mutable_released()->set_job_id(job_id);
  message.mutable_released()->set_epoch(epoch);
  Push(std::move(message));
}

void Outbox::Push(proto::FromWorker message) {
  MutexLock lock(mutex_);
  if (finished_) return;
  messages_.push_back(std::move(message));
  changed_.NotifyAll();
}

std::optional<proto::FromWorker> Outbox::Next(MonotonicTime deadline) {
  MutexLock lock(mutex_);
  while (messages_.empty() && !finished_ && !poked_) {
    if (!changed_.WaitUntil(lock, deadline) && Clock::Real().Now() >= deadline) break;
  }
  poked_ = false;
  if (messages_.empty()) return std::nullopt;
  proto::FromWorker message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

void Outbox::Poke() {
  MutexLock lock(mutex_);
  poked_ = true;
  changed_.NotifyAll();
}

void Outbox::Finish() {
  MutexLock lock(mutex_);
  finished_ = true;
  changed_.NotifyAll();
}

void Outbox::Close() {
  MutexLock lock(mutex_);
  finished_ = true;
  messages_.clear();
  changed_.NotifyAll();
}

bool Outbox::over() const {
  MutexLock lock(mutex_);
  return finished_ && messages_.empty();
}

}  // namespace alpa::worker
