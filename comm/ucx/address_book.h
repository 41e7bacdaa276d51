// Tells other processes this process's UCX address of an epoch, over plain TCP, and asks theirs.
//
// Model:    a process listens on one port for its whole life; its address is "host:port/nonce", where the nonce tells it from
//           another process that got the port later. An epoch's UCX address is served while the epoch is open.
// Protocol: the asker sends 24 bytes: "ALPAUCX1", nonce, epoch (integers little endian, 8 bytes). The answer is 4 bytes and as
//           many bytes as they say: the address. 0: the epoch is not open here, ask again later; 2^32-1: wrong nonce.
// Threads:  thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace alpa::comm {

class AddressBook {
 public:
  // Listens on `host` at a free port, and names `advertise` (empty: `host`) to others.
  // kInvalidArgument: nobody could reach what would be advertised. kUnavailable: no such address or no port.
  static absl::StatusOr<std::unique_ptr<AddressBook>> Listen(const std::string& host, const std::string& advertise);
  ~AddressBook();

  const std::string& address() const { return address_; }
  // False, and nothing changes, when the epoch is there already.
  bool Publish(uint64_t epoch, std::string ucx_address);
  void Withdraw(uint64_t epoch);

 private:
  struct Visitor;
  AddressBook() = default;
  void Serve();
  // False when the visitor is done with.
  bool Hear(Visitor& visitor);

  int listener_ = -1;
  int wake_ = -1;   // eventfd, written once
  uint64_t nonce_ = 0;
  std::string address_;
  std::thread server_;
  Mutex mutex_;
  std::map<uint64_t, std::string> epochs_ ALPA_GUARDED_BY(mutex_);
};

// A process's address, taken apart.
struct ProcessAddress {
  std::string host;
  uint16_t port = 0;
  uint64_t nonce = 0;
};
absl::StatusOr<ProcessAddress> ParseProcessAddress(const std::string& address);

// Asks once for the UCX address of `epoch`. Empty: not open there yet, or nobody answers; ask again. kUnavailable: the process
// of that address is no more. Returns early, with an empty answer, when `cancel` (an eventfd) becomes readable.
absl::StatusOr<std::string> AskAddress(const ProcessAddress& address, uint64_t epoch, int cancel);

}  // namespace alpa::comm
