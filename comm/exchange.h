// An Exchange sends and receives the messages of one collective call, and holds the call's open requests. The call
// returns only when all requests are complete.
//
// Errors:  the first failed request aborts the endpoint, because the call can no longer succeed on the other ranks.
//          After the abort, no rank waits for messages that will never be sent.
// Threads: only the thread that runs the collective call may use its Exchange.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "comm/transport.h"

namespace alpa::comm {

class Exchange {
 public:
  // `members` lists the endpoint ranks of the group; `rank` is this device's index in that list. All messages carry
  // `tag`. From one rank to another, the i-th send matches the i-th receive.
  Exchange(Endpoint& endpoint, std::span<const int> members, int rank, uint32_t tag)
      : endpoint_(endpoint), members_(members), rank_(rank), tag_(tag) {}
  ~Exchange() { (void)Finish(); }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(members_.size()); }
  // Returns `i` modulo size(), which is a rank of the group. `i` may be negative.
  int Wrap(int i) const { return (i % size() + size()) % size(); }

  // Starts a message to or from a rank of the group, and returns the number of its request. The memory belongs to the
  // request until Wait(number) or Finish.
  size_t Send(int to, std::span<const std::byte> data);
  size_t Recv(int from, std::span<std::byte> data);

  // Waits for one request. Returns at once if an earlier Wait has waited for the same request. Returns the first
  // failure of the collective call, or OK.
  absl::Status Wait(size_t number);
  // Waits for all remaining requests. Returns the first failure of the collective call, or OK.
  absl::Status Finish();

 private:
  Endpoint& endpoint_;
  const std::span<const int> members_;
  const int rank_;
  const uint32_t tag_;
  std::vector<std::unique_ptr<Request>> requests_;   // null after its Wait
  absl::Status failure_;
};

}  // namespace alpa::comm
