// Where the ranks of one epoch within one process meet.
//
// Threads: thread-safe.
#pragma once

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

// One half of a message: memory to copy from or to, until `done`. Kept alive by both sides.
struct Half {
  std::span<const std::byte> source;
  std::span<std::byte> destination;
  bool done = false;
  bool copying = false;   // the other side is reading or writing the memory now
  absl::Status status;
};

class Mailbox {
 public:
  // Starts a send or a receive; whoever comes second copies.
  std::unique_ptr<Request> Send(int from, int to, uint32_t tag, std::span<const std::byte> data);
  std::unique_ptr<Request> Recv(int from, int to, uint32_t tag, std::span<std::byte> data);
  void Abort(const absl::Status& cause);

 private:
  friend class HalfRequest;
  struct Key {
    int from, to;
    uint32_t tag;
    auto operator<=>(const Key&) const = default;
  };
  std::unique_ptr<Request> Post(const Key& key, std::shared_ptr<Half> half, bool is_send);

  Mutex mutex_;
  CondVar changed_;
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  std::map<Key, std::deque<std::shared_ptr<Half>>> sends_ ALPA_GUARDED_BY(mutex_);
  std::map<Key, std::deque<std::shared_ptr<Half>>> receives_ ALPA_GUARDED_BY(mutex_);
};

}  // namespace alpa::comm
