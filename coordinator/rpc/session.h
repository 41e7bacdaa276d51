// A worker's session: passes messages between the worker's stream and the core.
//
// Threads: SessionQueue is thread-safe. ServeSession blocks the calling thread and reads on it. It starts another
//          thread, which writes.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "proto/worker_service.grpc.pb.h"

namespace alpa::coordinator {

class Coordinator;

// The messages to one worker, in order. The session's writer thread takes them.
class SessionQueue {
 public:
  void Push(proto::ToWorker message);  // has no effect after Close
  // Waits for the next message. Returns false when the queue is closed and empty.
  bool Pop(proto::ToWorker* message);
  // Closes the queue. Only the first call has an effect.
  void Close(const absl::Status& why);
  absl::Status why() const;  // the status that was passed to Close
  // Returns whether the writer has taken all messages.
  bool empty() const;

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<proto::ToWorker> messages_ ALPA_GUARDED_BY(mutex_);
  bool closed_ ALPA_GUARDED_BY(mutex_) = false;
  absl::Status why_ ALPA_GUARDED_BY(mutex_);
};

// Serves one worker's stream, from the registration to the end of the stream.
grpc::Status ServeSession(Coordinator& coordinator, grpc::ServerContext* context,
                          grpc::ServerReaderWriter<proto::ToWorker, proto::FromWorker>* stream);

}  // namespace alpa::coordinator
