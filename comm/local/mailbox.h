// Matches the sends and receives of one epoch's ranks within one process. The thread that posts the second half of a
// message copies the data directly from the sender's memory to the receiver's.
//
// Threads: thread-safe. Requests must not outlive the mailbox.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "comm/transport.h"

namespace alpa::comm {

class Mailbox {
 public:
  std::unique_ptr<Request> Send(int from, int to, uint32_t tag, std::span<const std::byte> data);
  std::unique_ptr<Request> Recv(int from, int to, uint32_t tag, std::span<std::byte> data);
  void Abort(const absl::Status& cause);

 private:
  class Half;
  struct Key {
    int from, to;
    uint32_t tag;
    auto operator<=>(const Key&) const = default;
  };
  using Waiting = std::map<Key, std::deque<Half*>>;
  std::unique_ptr<Request> Post(const Key& key, std::unique_ptr<Half> half, bool is_send);

  Mutex mutex_;
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  Waiting sends_ ALPA_GUARDED_BY(mutex_), receives_ ALPA_GUARDED_BY(mutex_);
};

// Makes a request whose Wait returns `status`.
std::unique_ptr<Request> MakeFailedRequest(absl::Status status);

}  // namespace alpa::comm
