// One epoch in one process: a ucp_worker of its own, the connections to peers, and the threads that move the messages.
//
// Progress: UCX moves data only while a thread calls it. One of the threads that wait for operations makes these calls.
//           This thread is the driver. The driver first spins and then sleeps on UCX's event descriptor. If operations
//           are open and no thread waits for them, a watching thread takes over within a few milliseconds. While no
//           operations are open, the watching thread sleeps.
// Meeting:  two processes exchange greetings as soon as both have opened the epoch. When both greetings have arrived,
//           the processes have met. Sends to a peer wait until the two processes have met. If either end breaks a
//           connection that is being established, UCX 1.13 terminates the process. Therefore an epoch never gives up
//           such a connection. An epoch that ends early first meets the peers that have opened it, which takes at most
//           about a second.
// Loss:     if the connections to a peer break, operations with the peer fail with kUnavailable. UCX reports a break at
//           once over TCP, and within the keepalive interval over shared memory.
// Abort:    fails every present and later operation at once. UCX stops using the operations' memory before their Wait
//           returns. The address book notifies the other processes if it can reach them. The notified processes abort
//           the epoch, too.
// Threads:  thread-safe. One mutex guards all calls into UCX.
#pragma once

#include <ucp/api/ucp.h>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "comm/transport.h"
#include "comm/ucx/address_book.h"

namespace alpa::comm {

// A ucp_context, which the epochs of a transport share.
struct UcxContext {
  ~UcxContext() {
    if (handle != nullptr) ucp_cleanup(handle);
  }
  ucp_context_h handle = nullptr;
};

class UcxEpoch {
 public:
  struct Options {
    uint64_t epoch = 0;
    // For each rank: the address of the process that holds it, or empty for a rank of this process.
    std::vector<std::string> addresses;
    Duration spin{};
    // Called on one of the epoch's threads when another process has aborted the epoch, before operations here fail.
    std::function<void(const absl::Status& cause)> on_peer_abort{};
  };
  // The number of ranks that tags have room for: 12 bits for the sender and 12 for the receiver.
  static constexpr size_t kMaxRanks = 4096;

  // Publishes the epoch in `book`, which must outlive the epoch, and starts to connect to the peers.
  // kInvalidArgument: too many ranks or a bad address. kFailedPrecondition: the epoch is already open in this process.
  static absl::StatusOr<std::unique_ptr<UcxEpoch>> Open(std::shared_ptr<UcxContext> context, AddressBook& book,
                                                        const Options& options);
  // Flushes sent messages for up to 200 ms (kFlushPatience).
  ~UcxEpoch();

  // Start a message from rank `from` to rank `to`. For Send, `from` is a rank of this process; for Recv, `to` is. The
  // other rank belongs to another process. The request must not outlive the epoch.
  std::unique_ptr<Request> Send(int from, int to, uint32_t tag, std::span<const std::byte> data);
  std::unique_ptr<Request> Recv(int from, int to, uint32_t tag, std::span<std::byte> data);
  void Abort(const absl::Status& cause);

 private:
  class Operation;
  // Another process.
  struct Peer {
    UcxEpoch* epoch;
    int first_rank;                            // the lowest of the process's ranks
    ucp_ep_h endpoint = nullptr;               // null: not connected yet, or closed
    absl::Status failure;
    bool met = false;
    bool half_open = false;                    // not met, but a connection may be under way
    std::unique_ptr<Operation> greeting_out, greeting_in;
    int greetings = 0;                         // number of the two greetings that are done
    std::byte received{};
    std::deque<Operation*> early;              // sends that wait until the processes have met
  };
  // Locks the mutex with priority over the driver, which would otherwise lock the mutex again at once.
  class Lock {
   public:
    explicit Lock(UcxEpoch& epoch) : count_(epoch.contenders_), lock_(Enter(count_, epoch.mutex_)) { --count_; }
    MutexLock& get() { return lock_; }

   private:
    static Mutex& Enter(std::atomic<int>& count, Mutex& mutex) {
      ++count;
      return mutex;
    }
    std::atomic<int>& count_;
    MutexLock lock_;
  };

  UcxEpoch(std::shared_ptr<UcxContext> context, AddressBook& book, const Options& options);
  absl::Status Start(const Options& options);
  ucp_tag_t TagOf(int from, int to, uint32_t tag) const;

  // Operations.
  void Add(Operation& operation) ALPA_REQUIRES(mutex_);
  void Finish(Operation& operation, absl::Status status) ALPA_REQUIRES(mutex_);
  void StartSend(Operation& operation, ucp_ep_h endpoint) ALPA_REQUIRES(mutex_);
  void PostReceive(Operation& operation, void* memory) ALPA_REQUIRES(mutex_);
  bool IsHere(const Operation& operation) ALPA_REQUIRES(mutex_);
  void CancelReceives(const Peer* from) ALPA_REQUIRES(mutex_);   // `from` null: from all peers, except greetings
  static void OnSent(void* request, ucs_status_t status, void* user_data);
  static void OnReceived(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* user_data);

  // Progress.
  absl::Status Wait(Operation& operation);
  absl::Status Drive(Operation& operation);
  void Watch();
  void WakeSleepers() ALPA_REQUIRES(mutex_);
  void WakeDriver();
  unsigned Progress() ALPA_REQUIRES(mutex_);
  // Makes progress until UCX's request is done or `patience` is over, then frees the request. Returns whether the
  // request was done in time.
  bool Await(ucs_status_ptr_t request, Duration patience) ALPA_REQUIRES(mutex_);

  // Peers. The connecting thread runs Attend, which connects to all peers, waits for the epoch's end, and handles the
  // end.
  void Attend(std::vector<ProcessAddress>& processes);
  void Connect(std::vector<ProcessAddress>& processes);
  void MeetTheRest(std::vector<ProcessAddress>& processes);
  // Handles a peer's answer. Returns false if the peer must be asked again.
  bool HandleAnswer(Peer& peer, const AddressAnswer& answer) ALPA_REQUIRES(mutex_);
  void Reach(Peer& peer, const std::string& ucx_address) ALPA_REQUIRES(mutex_);
  void OnGreeting(Operation& operation) ALPA_REQUIRES(mutex_);
  bool AllMet() const ALPA_REQUIRES(mutex_);   // ignores lost peers
  static void OnLost(void* peer, ucp_ep_h endpoint, ucs_status_t status);
  void Fail(Peer& peer) ALPA_REQUIRES(mutex_);

  // The end of the epoch.
  void AbortAs(const absl::Status& cause, bool notify_peers);
  void SignalStop();
  void Flush(Duration patience) ALPA_REQUIRES(mutex_);
  bool CloseEndpoints() ALPA_REQUIRES(mutex_);   // returns false if some connections are not closed
  void DestroyWorker() ALPA_REQUIRES(mutex_);

  const std::shared_ptr<UcxContext> context_;
  AddressBook& book_;
  const uint64_t epoch_;
  const Duration spin_;
  const std::function<void(const absl::Status&)> on_peer_abort_;
  int driver_event_ = -1, watcher_event_ = -1;   // eventfds that wake the driver and the watching thread
  int stop_event_ = -1;                          // written on abort, at the end, or if a peer has aborted; never read
  int ucx_event_ = -1;                           // a duplicate of the worker's descriptor, which outlives the worker
  std::vector<int> peer_of_rank_;                // one entry per rank: index in peers_; -1: a rank of this process
  int first_rank_ = -1;                          // the lowest rank of this process
  bool published_ = false;
  std::thread watcher_, connector_;
  std::atomic<int> contenders_{0};               // threads that are about to lock the mutex for a short time

  Mutex mutex_;
  ucp_worker_h worker_ ALPA_GUARDED_BY(mutex_) = nullptr;
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  bool notify_peers_ ALPA_GUARDED_BY(mutex_) = false;   // whether to notify the peers of the abort
  bool stopping_ ALPA_GUARDED_BY(mutex_) = false;
  std::vector<Peer> peers_ ALPA_GUARDED_BY(mutex_);
  std::vector<Peer*> lost_ ALPA_GUARDED_BY(mutex_);     // peers whose operations must still be failed
  Operation* open_ ALPA_GUARDED_BY(mutex_) = nullptr;   // doubly linked list of the operations that are not done
  int waiters_ ALPA_GUARDED_BY(mutex_) = 0;
  bool driven_ ALPA_GUARDED_BY(mutex_) = false;
  bool driver_asleep_ ALPA_GUARDED_BY(mutex_) = false;
  bool watcher_asleep_ ALPA_GUARDED_BY(mutex_) = false;
};

}  // namespace alpa::comm
