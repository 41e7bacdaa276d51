#include "comm/local/mailbox.h"

#include <cstring>

#include "base/status.h"

namespace alpa::comm {
namespace {

class FailedRequest : public Request {
 public:
  explicit FailedRequest(absl::Status status) : status_(std::move(status)) {}
  absl::Status Wait() override { return status_; }

 private:
  const absl::Status status_;
};

}  // namespace

// One half of a message: its send or its receive. Until the half is done, the mailbox, or the thread that posts the
// other half, may hold a pointer to this half. The destructor therefore waits until the half is done.
class Mailbox::Half : public Request {
 public:
  Half(Mailbox& mailbox, std::span<const std::byte> source, std::span<std::byte> destination)
      : source(source), destination(destination), mailbox_(mailbox) {}
  ~Half() override {
    if (!waited_) (void)Wait();
  }

  absl::Status Wait() override {
    waited_ = true;
    MutexLock lock(mailbox_.mutex_);
    while (!done) changed_.Wait(lock);
    return status_;
  }

  // REQUIRES: the mailbox's mutex is held.
  void Finish(const absl::Status& status) {
    status_ = status;
    done = true;
    changed_.NotifyOne();
  }

  const std::span<const std::byte> source;
  const std::span<std::byte> destination;
  bool done = false;

 private:
  Mailbox& mailbox_;
  bool waited_ = false;
  absl::Status status_;
  CondVar changed_;
};

std::unique_ptr<Request> Mailbox::Send(int from, int to, uint32_t tag, std::span<const std::byte> data) {
  return Post({from, to, tag}, std::make_unique<Half>(*this, data, std::span<std::byte>()), true);
}

std::unique_ptr<Request> Mailbox::Recv(int from, int to, uint32_t tag, std::span<std::byte> data) {
  return Post({from, to, tag}, std::make_unique<Half>(*this, std::span<const std::byte>(), data), false);
}

std::unique_ptr<Request> Mailbox::Post(const Key& key, std::unique_ptr<Half> half, bool is_send) {
  Half* other = nullptr;
  {
    MutexLock lock(mutex_);
    if (!aborted_.ok()) {
      half->Finish(aborted_);
      return half;
    }
    Waiting& waiting = is_send ? receives_ : sends_;
    auto found = waiting.find(key);
    if (found == waiting.end()) {
      (is_send ? sends_ : receives_)[key].push_back(half.get());
      return half;
    }
    // From here on, Abort does not see the other half, so the owner of that half waits until the copy below is done.
    other = found->second.front();
    found->second.pop_front();
    if (found->second.empty()) waiting.erase(found);
  }
  const std::span<const std::byte> source = is_send ? half->source : other->source;
  const std::span<std::byte> destination = is_send ? other->destination : half->destination;
  absl::Status status;
  if (source.size() != destination.size()) {
    status = InvalidArgument("a message of %d bytes from rank %d does not fit "
                             "a receive of %d bytes at rank %d (tag %d)",
                             source.size(), key.from, destination.size(), key.to, key.tag);
  } else if (!source.empty()) {
    std::memcpy(destination.data(), source.data(), source.size());
  }
  MutexLock lock(mutex_);
  other->Finish(status);
  half->Finish(status);
  return half;
}

void Mailbox::Abort(const absl::Status& cause) {
  MutexLock lock(mutex_);
  if (!aborted_.ok()) return;
  aborted_ = cause.ok() ? absl::CancelledError("aborted") : cause;
  for (Waiting* waiting : {&sends_, &receives_}) {
    for (auto& [key, halves] : *waiting) {
      for (Half* half : halves) half->Finish(aborted_);
    }
    waiting->clear();
  }
}

std::unique_ptr<Request> MakeFailedRequest(absl::Status status) {
  return std::make_unique<FailedRequest>(std::move(status));
}

}  // namespace alpa::comm
