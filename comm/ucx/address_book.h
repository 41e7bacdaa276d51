// Serves this process's UCX address of an epoch to other processes over plain TCP, and asks other processes for their
// UCX addresses. Also notifies other processes that this process has aborted an epoch.
//
// Model:    a process listens on one port for its whole life. Its address is "host:port/nonce". The nonce distinguishes
//           the process from a later process on the same port. The book serves an epoch's UCX address while the epoch
//           is open.
// Protocol: a visitor connects and sends 24 bytes: a word, the nonce and the epoch. Each of the three has 8 bytes.
//           Integers are little endian. "ALPAUCX1" asks for the epoch's UCX address. The answer is a 4-byte size,
//           followed by an address of that size. The size 0 and sizes from 0xfffffffc up are codes (see
//           address_book.cc). No address follows a code. "ALPAEND1" reports that the visitor has aborted the epoch. The
//           book does not answer this word.
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
  // kInvalidArgument: `host` is a wildcard and `advertise` is empty. kUnavailable: `host` cannot be resolved, or this
  // process cannot listen on it.
  static absl::StatusOr<std::unique_ptr<AddressBook>> Listen(const std::string& host, const std::string& advertise);
  ~AddressBook();

  const std::string& address() const { return address_; }
  // Starts to serve the epoch's address. When a visitor reports that it has aborted the epoch, the book writes to
  // `aborted_event`, an eventfd that the caller owns. Returns false and changes nothing if the epoch is already
  // published.
  bool Publish(uint64_t epoch, std::string ucx_address, int aborted_event);
  // The ways in which an epoch ends in this process. The book remembers the latest ends, except kDone, to answer later
  // visitors.
  enum class End {
    kClosing,     // the address is no longer served; a second Withdraw follows, with one of the values below
    kDone,
    kAborted,
    kAbandoned,   // aborted, with some connections left open or half established
  };
  // Stops serving the epoch's address. Afterwards the book does not use the epoch's `aborted_event`.
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
  uint32_t ipv4 = 0;   // address of the host, in network order; 0 until the host is looked up
};
absl::StatusOr<ProcessAddress> ParseProcessAddress(const std::string& address);

struct AddressAnswer {
  enum Kind {
    kAddress,
    kNotOpen,      // the epoch is not open yet, or the connection was refused
    kUnknown,      // no answer in time, or the asked process is about to end the epoch
    kOtherProcess, // another process has the port now
    kAborted,      // the asked process has aborted the epoch
    kAbandoned,    // AddressBook::End::kAbandoned
  };
  Kind kind;
  std::string ucx_address;
};
// Asks the process at `address` once for its UCX address of `epoch`, and waits up to `patience` for the answer. Looks
// the host up if necessary, and keeps the result in `address`. Returns kUnknown early if `cancel`, an eventfd or -1,
// becomes readable.
AddressAnswer AskAddress(ProcessAddress& address, uint64_t epoch, int cancel, Duration patience);

// Notifies the processes at `addresses` that this process has aborted `epoch`. Skips processes whose host was never
// looked up. Stops after 300 ms in total (kNotifyTimeout), even if it has not reached all processes.
void NotifyAborted(const std::vector<ProcessAddress>& addresses, uint64_t epoch);

}  // namespace alpa::comm
