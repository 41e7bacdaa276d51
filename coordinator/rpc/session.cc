#include "coordinator/rpc/session.h"

#include <memory>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/status.h"
#include "coordinator/rpc/coordinator.h"
#include "coordinator/rpc/status_rpc.h"

namespace alpa::coordinator {

void SessionQueue::Push(proto::ToWorker message) {
  MutexLock lock(mutex_);
  if (closed_) return;
  messages_.push_back(std::move(message));
  changed_.NotifyOne();
}

bool SessionQueue::Pop(proto::ToWorker* message) {
  MutexLock lock(mutex_);
  while (!closed_ && messages_.empty()) changed_.Wait(lock);
  if (messages_.empty()) return false;
  *message = std::move(messages_.front());
  messages_.pop_front();
  return true;
}

void SessionQueue::Close(const absl::Status& why) {
  MutexLock lock(mutex_);
  if (closed_) return;
  closed_ = true;
  why_ = why;
  changed_.NotifyAll();
}

absl::Status SessionQueue::why() const {
  MutexLock lock(mutex_);
  return why_;
}

bool SessionQueue::empty() const {
  MutexLock lock(mutex_);
  return messages_.empty();
}

namespace {

// Passes the worker's messages to the core until the stream ends. If the coordinator refused the worker or closed the
// session, returns an error that gives the reason. Only a refused worker receives this reason. If the coordinator
// closes the session later, the worker only sees that the stream is cancelled.
absl::Status ReadAll(Coordinator& coordinator, uint64_t session, SessionQueue& queue,
                     grpc::ServerReaderWriter<proto::ToWorker, proto::FromWorker>* stream) {
  proto::FromWorker message;
  if (!stream->Read(&message)) return queue.why();
  if (!message.has_register_()) return InvalidArgument("the first message of a session must be Register");
  if (absl::Status status = coordinator.Register(session, message.register_()); !status.ok()) {
    LogWarning("refused a worker: %s", std::string(status.message()));
    return status;
  }
  while (stream->Read(&message)) {
    coordinator.With([&](Core& core) { core.OnMessage(session, message); });
  }
  return queue.why();
}

}  // namespace

grpc::Status ServeSession(Coordinator& coordinator, grpc::ServerContext* context,
                          grpc::ServerReaderWriter<proto::ToWorker, proto::FromWorker>* stream) {
  // Shared with the coordinator, which may still push messages while this stream ends.
  const auto queue = std::make_shared<SessionQueue>();
  const uint64_t session = coordinator.OpenSession(queue);
  std::thread writer([&] {
    proto::ToWorker message;
    while (queue->Pop(&message)) {
      if (!stream->Write(message)) break;
    }
    if (!queue->why().ok()) context->TryCancel();  // wakes the reader
  });
  const absl::Status ended = ReadAll(coordinator, session, *queue, stream);
  coordinator.CloseSession(session, ended.ok() ? "its connection ended" : std::string(ended.message()));
  queue->Close(absl::OkStatus());
  writer.join();
  return ToGrpc(ended, context);
}

}  // namespace alpa::coordinator
