#include "comm/local/mailbox.h"

#include <cstring>

#include "base/status.h"

namespace alpa::comm {

class HalfRequest : public Request {
 public:
  HalfRequest(Mailbox& mailbox, std::shared_ptr<Half> half) : mailbox_(mailbox), half_(std::move(half)) {}

  absl::Status Wait() override {
    MutexLock lock(mailbox_.mutex_);
    // An aborted half still waits for a copy under way: its memory is the caller's again only afterwards.
    while (!half_->done || half_->copying) mailbox_.changed_.Wait(lock);
    return half_->status;
  }

 private:
  Mailbox& mailbox_;
  const std::shared_ptr<Half> half_;
};

std::unique_ptr<Request> Mailbox::Send(int from, int to, uint32_t tag, std::span<const std::byte> data) {
  auto half = std::make_shared<Half>();
  half->source = data;
  return Post({from, to, tag}, std::move(half), true);
}

std::unique_ptr<Request> Mailbox::Recv(int from, int to, uint32_t tag, std::span<std::byte> data) {
  auto half = std::make_shared<Half>();
  half->destination = data;
  return Post({from, to, tag}, std::move(half), false);
}

std::unique_ptr<Request> Mailbox::Post(const Key& key, std::shared_ptr<Half> half, bool is_send) {
  std::shared_ptr<Half> other;
  {
    MutexLock lock(mutex_);
    if (!aborted_.ok()) {
      half->status = aborted_;
      half->done = true;
      return std::make_unique<HalfRequest>(*this, std::move(half));
    }
    auto& waiting = is_send ? receives_ : sends_;
    auto found = waiting.find(key);
    if (found == waiting.end()) {
      (is_send ? sends_ : receives_)[key].push_back(half);
      return std::make_unique<HalfRequest>(*this, std::move(half));
    }
    other = found->second.front();
    found->second.pop_front();
    if (found->second.empty()) waiting.erase(found);
    other->copying = true;
  }
  const std::span<const std::byte> source = is_send ? half->source : other->source;
  const std::span<std::byte> destination = is_send ? other->destination : half->destination;
  absl::Status status;
  if (source.size() == destination.size()) {
    if (!source.empty()) std::memcpy(destination.data(), source.data(), source.size());
  } else {
    status = InvalidArgument("a message of %d bytes from rank %d met a receive of %d bytes at rank %d (tag %d)",
                             source.size(), key.from, destination.size(), key.to, key.tag);
  }
  {
    MutexLock lock(mutex_);
    other->copying = false;
    if (!other->done) other->status = status;
    other->done = true;
    half->status = status;
    half->done = true;
  }
  changed_.NotifyAll();
  return std::make_unique<HalfRequest>(*this, std::move(half));
}

void Mailbox::Abort(const absl::Status& cause) {
  {
    MutexLock lock(mutex_);
    if (!aborted_.ok()) return;
    aborted_ = cause;
    for (auto* waiting : {&sends_, &receives_}) {
      for (auto& [key, halves] : *waiting) {
        for (auto& half : halves) {
          half->status = cause;
          half->done = true;
        }
      }
      waiting->clear();
    }
  }
  changed_.NotifyAll();
}

}  // namespace alpa::comm
