// Gives other processes this process's UCX address of an epoch, and asks for theirs, over plain TCP. Also tells other
// processes that this process has aborted an epoch.
//
// Model:    a process listens on one port for its whole life. Its address is "host:port/nonce". The nonce distinguishes
//           it from another process that uses the port later. The book serves an epoch's UCX address while the epoch is
//           open.
// Protocol: a visitor connects and sends 24 bytes: a word, the nonce and the epoch (8 bytes each, integers little
//           endian). "ALPAUCX1" asks for the epoch's UCX address. The answer is a 4-byte size and that many bytes, the
//           address. The size 0 and sizes from 0xfffffffc up are other answers (see address_book.cc); no bytes follow
//           them. "ALPAEND1" says that the visitor has aborted the epoch. It has no answer.
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
  // Listens on `host` at a free port. address() contains `advertise` as the host, or `host` if `advertise` is empty.
  // kInvalidArgument: `host` is a wildcard and `advertise` is empty. kUnavailable: `host` cannot be resolved or used.
  static absl::StatusOr<std::unique_ptr<AddressBook>> Listen(const std::string& host, const std::string& advertise);
  ~AddressBook();

  const std::string& address() const { return address_; }
  // Starts to serve the epoch's address. When a visitor says that the epoch is aborted, the book writes to
  // `aborted_event`, an eventfd that the caller owns. Returns false and changes nothing if the epoch is already
  // published.
  bool Publish(uint64_t epoch, std::string ucx_address, int aborted_event);
  // How an epoch ends in this process. The book remembers the latest aborted and abandoned epochs, to answer later
  // visitors.
  enum class End {
    kClosing,     // the address is no longer served; another Withdraw with a final value follows
    kDone,
    kAborted,
    kAbandoned,   // aborted, and some connections that were being established are left as they are
  };
  // Stops serving the epoch's address. The book no longer uses the epoch's `aborted_event`.
  void Withdraw(uint64_t epoch, End end);

 private:
  struct Visitor;
  struct Entry {
    std::string ucx_address;
    int aborted_event;
  };
  AddressBook() = default;
  void Serve();
  // Reads from the visitor, and answers a complete question. Returns false if the connection can be closed.
  bool ReadQuestion(Visitor& visitor);
  std::string AnswerAbout(uint64_t epoch);

  int listener_ = -1;
  int wake_ = -1;   // eventfd; a write ends the server thread
  uint64_t nonce_ = 0;
  std::string address_;
  std::thread server_;
  Mutex mutex_;
  std::map<uint64_t, Entry> epochs_ ALPA_GUARDED_BY(mutex_);
  // The latest ended epochs, oldest first.
  std::deque<std::pair<uint64_t, End>> ended_ ALPA_GUARDED_BY(mutex_);
};

// The parts of a process's address.
struct ProcessAddress {
  std::string host;
  uint16_t port = 0;
  uint64_t nonce = 0;
  uint32_t ipv4 = 0;   // of the host, in network order; 0 until it is looked up
};
absl::StatusOr<ProcessAddress> ParseProcessAddress(const std::string& address);

struct AddressAnswer {
  enum Kind {
    kAddress,
    kNotOpen,      // the epoch is not open yet, or the connection was refused
    kUnknown,      // no answer in time, or the epoch is about to end there
    kOtherProcess, // another process has the port now
    kAborted,      // the epoch is aborted there
    kAbandoned,    // AddressBook::End::kAbandoned
  };
  Kind kind;
  std::string ucx_address;
};
// Asks once for the UCX address of `epoch`, and waits up to `patience` for the answer. Looks the host up if necessary.
// Returns kUnknown early if `cancel`, an eventfd or -1, becomes readable.
AddressAnswer AskAddress(ProcessAddress& address, uint64_t epoch, int cancel, Duration patience);

// Tells the processes at `addresses` that `epoch` is aborted. Skips those whose host was never looked up. Gives up on
// those that cannot be reached within 300 ms in total.
void NotifyAborted(const std::vector<ProcessAddress>& addresses, uint64_t epoch);

}  // namespace alpa::comm
