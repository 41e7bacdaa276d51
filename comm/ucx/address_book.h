// Tells other processes this process's UCX address of an epoch, over plain TCP, and asks theirs; and tells them when an epoch
// was aborted here.
//
// Model:    a process listens on one port for its whole life; its address is "host:port/nonce", where the nonce tells it from
//           another process that got the port later. An epoch's UCX address is served while the epoch is open.
// Protocol: the visitor sends 24 bytes: a word, nonce, epoch (integers little endian, 8 bytes). To "ALPAUCX1" the answer is 4
//           bytes and as many bytes as they say: the address. Greater numbers, without more bytes, are the other answers (see
//           address_book.cc). "ALPAEND1" says that the visitor has aborted the epoch; no answer.
// Threads:  thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
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
  // How an epoch ends here. Those who ask learn kAborted and kAbandoned also later.
  enum class End {
    kClosing,     // the address is no longer told; one of the others follows
    kDone,
    kAborted,
    kAbandoned,   // aborted with connections half made, which stay so
  };
  // The event is let go.
  void Withdraw(uint64_t epoch, End end);

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
  std::string AnswerAbout(uint64_t epoch);

  int listener_ = -1;
  int wake_ = -1;   // eventfd, written once
  uint64_t nonce_ = 0;
  std::string address_;
  std::thread server_;
  Mutex mutex_;
  std::map<uint64_t, Entry> epochs_ ALPA_GUARDED_BY(mutex_);
  std::deque<std::pair<uint64_t, End>> ended_ ALPA_GUARDED_BY(mutex_);   // the latest, oldest first
};

// A process's address, taken apart.
struct ProcessAddress {
  std::string host;
  uint16_t port = 0;
  uint64_t nonce = 0;
  uint32_t ipv4 = 0;   // of the host, in network order, once it was looked up
};
absl::StatusOr<ProcessAddress> ParseProcessAddress(const std::string& address);

struct AddressAnswer {
  enum Kind {
    kAddress,
    kNotOpen,      // not yet, or nobody listens there
    kUnknown,      // no answer in time, or the epoch is about to end there
    kOtherProcess, // the one of that address is no more
    kAborted,      // the epoch was
    kAbandoned,    // AddressBook::End::kAbandoned
  };
  Kind kind;
  std::string ucx_address;
};
// Asks once for the UCX address of `epoch`. Returns early (kUnknown) when `cancel`, an eventfd or -1, becomes readable.
// Looks the host up if that was not done before.
AddressAnswer AskAddress(ProcessAddress& address, uint64_t epoch, int cancel, Duration patience);

// Says that `epoch` is aborted to those whose host was looked up, as far as they can be reached within a fraction of a second.
void NotifyAborted(const std::vector<ProcessAddress>& addresses, uint64_t epoch);

}  // namespace alpa::comm
