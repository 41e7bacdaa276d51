// Tells other processes this process's UCX address of an epoch, over plain TCP, and asks theirs.
//
// Protocol: the asker sends the epoch (8 bytes, little endian); the answer is a 4-byte length and so many bytes. Length 0:
// the epoch is not open there yet, ask again.
// Threads: thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace alpa::comm {

class AddressBook {
 public:
  static absl::StatusOr<std::unique_ptr<AddressBook>> Listen(const std::string& host, const std::string& advertise);
  ~AddressBook();

  const std::string& address() const { return address_; }   // "host:port"
  void Publish(uint64_t epoch, std::string ucx_address);
  void Withdraw(uint64_t epoch);

 private:
  AddressBook() = default;
  void Serve();

  int listener_ = -1;
  int wake_ = -1;   // eventfd
  std::string address_;
  std::thread server_;
  Mutex mutex_;
  std::map<uint64_t, std::string> epochs_ ALPA_GUARDED_BY(mutex_);
};

// Asks `address` for `epoch` until it answers; gives up when `cancelled` says so (checked every few milliseconds).
absl::StatusOr<std::string> AskAddress(const std::string& address, uint64_t epoch, const std::function<bool()>& cancelled);

}  // namespace alpa::comm
