// Tells other processes this process's UCX address of an epoch, over plain TCP, and asks theirs; and tells them when an epoch
// was aborted here.
//
// Model:    a process listens on one port for its whole life; its address is "host:port/nonce", where the nonce tells it from
//           another process that got the port later. An epoch's UCX address is served while the epoch is open.
// Protocol: the visitor sends 24 bytes: a word, nonce, epoch (integers little endian, 8 bytes). To "ALPAUCX1" the answer is 4
//           bytes and as many bytes as they say: the address. 0: the epoch is not open here, ask again later; 2^32-1: wrong
//           nonce; 2^32-2: the epoch was aborted here. "ALPAEND1" says that the visitor aborted the epoch; no answer.
// Threads:  thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

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
  // `aborted_event` (an eventfd, the caller's) is written when a visitor says that the epoch is aborted. False, and nothing
  // changes, when the epoch is there already.
  bool Publish(uint64_t epoch, std::string ucx_address, int aborted_event);
  // The event is let go. Who asks for an aborted epoch is told so, also later.
  void Withdraw(uint64_t epoch, bool aborted);

 private:
  struct Visitor;
  struct Entry {
    std::string ucx_address;
    int aborted_event;
  };
  AddressBook() = default;
  void Serve();
  // False when the visitor is done with.
  bool Hear(Visitor& visitor);
  std::string Answer(uint64_t epoch);

  int listener_ = -1;
  int wake_ = -1;   // eventfd, written once
  uint64_t nonce_ = 0;
  std::string address_;
  std::thread server_;
  Mutex mutex_;
  std::map<uint64_t, Entry> epochs_ ALPA_GUARDED_BY(mutex_);
  std::deque<uint64_t> aborted_ ALPA_GUARDED_BY(mutex_);   // the latest, oldest first
};

// A process's address, taken apart.
struct ProcessAddress {
  std::string host;
  uint16_t port = 0;
  uint64_t nonce = 0;
  uint32_t ipv4 = 0;   // of the host, in network order, once it was looked up
};
absl::StatusOr<ProcessAddress> ParseProcessAddress(const std::string& address);

// Asks once for the UCX address of `epoch`. Empty: not open there yet, or nobody answers; ask again. kUnavailable: the process
// of that address is no more. kAborted: the epoch was aborted there. Returns early, with an empty answer, when `cancel` (an
// eventfd) becomes readable. Looks the host up if that was not done before.
absl::StatusOr<std::string> AskAddress(ProcessAddress& address, uint64_t epoch, int cancel);

// Says that `epoch` is aborted to those whose host was looked up, as far as they can be reached within a fraction of a second.
void TellAborted(const std::vector<ProcessAddress>& addresses, uint64_t epoch);

}  // namespace alpa::comm
