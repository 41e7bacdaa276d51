// What waits to be sent to the coordinator over one session, in order. The session's JobSink: jobs put their answers
// here and never wait for the network.
//
// Threads: thread-safe. After Close everything is dropped: its session is gone, and the next one starts from nothing.
#pragma once

#include <deque>
#include <optional>

#include "base/mutex.h"
#include "proto/worker_service.pb.h"
#include "worker/core/job_runtime.h"

namespace alpa::worker {

class Outbox : public JobSink {
 public:
  void OnPrepared(const std::string& job_id, uint64_t epoch, const absl::Status& status, double seconds,
                  Bytes temporary_bytes) override;
  void OnStepDone(const std::string& job_id, uint64_t epoch, int64_t step, const absl::Status& status, const StepCost& cost,
                  std::vector<InlineAux> scalars) override;
  void OnReleased(const std::string& job_id, uint64_t epoch) override;

  // The next message; nothing once `deadline` came, Poke was called, or all is over.
  std::optional<proto::FromWorker> Next(MonotonicTime deadline);
  // Makes a waiting Next return.
  void Poke();
  // No more messages are taken; those that are here can still be taken out.
  void Finish();
  // Drops everything.
  void Close();
  // Finished or closed, and empty.
  bool over() const;

 private:
  void Push(proto::FromWorker message);

  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<proto::FromWorker> messages_ ALPA_GUARDED_BY(mutex_);
  bool finished_ ALPA_GUARDED_BY(mutex_) = false;
  bool poked_ ALPA_GUARDED_BY(mutex_) = false;
};

}  // namespace alpa::worker
