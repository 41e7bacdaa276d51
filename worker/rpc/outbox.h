// The queue of messages to the coordinator in one session. It is the session's JobSink: jobs put their reports here and
// never wait for the network.
//
// Threads: thread-safe. After Close all messages are dropped, because the session has ended and the next session starts
//          without jobs.
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
  void OnStepDone(const std::string& job_id, uint64_t epoch, int64_t step, const absl::Status& status,
                  const StepCost& cost, std::vector<InlineAux> scalars) override;
  void OnReleased(const std::string& job_id, uint64_t epoch) override;

  // Waits for the next message. Returns nothing if the deadline passes, Poke is called, or the outbox is over.
  std::optional<proto::FromWorker> Next(MonotonicTime deadline);
  // Makes a waiting Next return.
  void Poke();
  // Refuses new messages. Next still returns the messages in the queue.
  void Finish();
  // Refuses new messages and drops the queue.
  void Close();
  // Returns true if the outbox is finished or closed, and empty.
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
