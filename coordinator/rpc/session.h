// A worker's session: its stream on one side, the core on the other.
//
// Threads: SessionQueue is thread-safe. ServeSession blocks its caller, who reads, and writes from a thread of its own.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "proto/worker_service.grpc.pb.h"

namespace alpa::coordinator {

class Coordinator;

// Messages to one worker, in order; its writer takes them.
class SessionQueue {
 public:
  void Push(proto::ToWorker message);  // nothing once it is closed
  // Blocks for the next message; false when the queue is closed and empty.
  bool Pop(proto::ToWorker* message);
  // The first call's reason stays.
  void Close(const absl::Status& why);
  absl::Status why() const;
  // All that was pushed has been taken.
  bool empty() const;

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<proto::ToWorker> messages_ ALPA_GUARDED_BY(mutex_);
  bool closed_ ALPA_GUARDED_BY(mutex_) = false;
  absl::Status why_ ALPA_GUARDED_BY(mutex_);
};

// From the worker's registration to the end of the stream.
grpc::Status ServeSession(Coordinator& coordinator, grpc::ServerContext* context,
                          grpc::ServerReaderWriter<proto::ToWorker, proto::FromWorker>* stream);

}  // namespace alpa::coordinator
