// The messages of one collective call: who takes part, and requests that are all waited for before the call returns.
//
// Failure: the first failed request aborts the endpoint, because the other ranks' parts of the call can no longer end
//          well: this rank must not block on what they will never send, nor they on what it will not.
// Threads: bound to the calling thread.
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
  // `members` are the endpoint's ranks of the group, `rank` this one's place among them. All messages carry `tag`: those of
  // one pair meet in the order in which both sides start them.
  Exchange(Endpoint& endpoint, std::span<const int> members, int rank, uint32_t tag)
      : endpoint_(endpoint), members_(members), rank_(rank), tag_(tag) {}
  ~Exchange() { (void)Finish(); }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(members_.size()); }
  // A rank of the group, for any integer.
  int Wrap(int i) const { return (i % size() + size()) % size(); }

  // Start a message to or from a rank of the group; the memory is this call's until Wait or Finish. Returns its number.
  size_t Send(int to, std::span<const std::byte> data);
  size_t Recv(int from, std::span<std::byte> data);

  // Waits for one (again: at once), or for all that are left. Returns the call's first failure.
  absl::Status Wait(size_t number);
  absl::Status Finish();

 private:
  Endpoint& endpoint_;
  const std::span<const int> members_;
  const int rank_;
  const uint32_t tag_;
  std::vector<std::unique_ptr<Request>> requests_;   // null once waited for
  absl::Status failure_;
};

}  // namespace alpa::comm
