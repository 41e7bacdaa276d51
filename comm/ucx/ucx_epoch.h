// One epoch of one process: a ucp_worker of its own, its connections, and the threads that move its messages.
//
// Progress: UCX moves data only while somebody calls it. Whoever waits for an operation does so (one thread at a time, the
//           driver), first spinning, then asleep on UCX's event descriptor. While operations are open and nobody waits, a
//           watching thread takes over within a millisecond; it costs nothing while there are none.
// Meeting:  every pair of processes greets each other as soon as both have opened the epoch; sends wait for that. UCX 1.13 ends
//           the process when a connection that is being made breaks, from either end, so none is given up before it is made:
//           an epoch that ends earlier meets those first who have opened it, for a fraction of a second.
// Loss:     a peer whose connections break (at once over TCP, within its keepalive's interval over shared memory) makes
//           operations with it fail with kUnavailable.
// Abort:    fails every present and later operation at once; UCX has let go of their memory before. The other processes are
//           told by the address book, as far as they can be reached, and their epochs are aborted, too.
// Threads:  thread-safe; all calls into UCX are under one mutex.
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

// A ucp_context, shared by the epochs of a transport.
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
    // Of the process that holds each rank; empty for ranks of this process.
    std::vector<std::string> addresses;
    Duration spin{};
    // Called on a thread of the epoch's when another process has aborted it, before operations here fail.
    std::function<void(const absl::Status& cause)> on_told{};
  };
  // Ranks that tags have room for.
  static constexpr size_t kMaxRanks = 4096;

  // Publishes the epoch in `book`, which must outlive it, and starts to look for the peers.
  static absl::StatusOr<std::unique_ptr<UcxEpoch>> Open(std::shared_ptr<UcxContext> context, AddressBook& book,
                                                        const Options& options);
  // Lets go what was sent, for a fifth of a second at most.
  ~UcxEpoch();

  // Message from rank `from` to rank `to`, one of which is of this process. The request must not outlive this.
  std::unique_ptr<Request> Send(int from, int to, uint32_t tag, std::span<const std::byte> data);
  std::unique_ptr<Request> Recv(int from, int to, uint32_t tag, std::span<std::byte> data);
  void Abort(const absl::Status& cause);

 private:
  class Operation;
  // Another process.
  struct Peer {
    UcxEpoch* epoch;
    int first_rank;                            // the lowest of its ranks
    ucp_ep_h endpoint = nullptr;               // null: not reached, or closed
    absl::Status failure;
    bool met = false;
    bool half_made = false;                    // there may be a connection, and they have not met
    std::unique_ptr<Operation> greeting_out, greeting_in;
    int greetings = 0;                         // of these two, done
    std::byte heard{};
    std::deque<Operation*> early;              // sends that wait until it is met
  };
  // Locks the mutex ahead of a driver that would take it again at once.
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
  void CancelReceives(const Peer* from) ALPA_REQUIRES(mutex_);   // null: all but greetings
  static void OnSent(void* request, ucs_status_t status, void* user_data);
  static void OnReceived(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* user_data);

  // Progress.
  absl::Status Wait(Operation& operation);
  absl::Status Drive(Operation& operation);
  void Watch();
  void WakeSleepers() ALPA_REQUIRES(mutex_);
  void WakeDriver();
  unsigned Progress() ALPA_REQUIRES(mutex_);
  // Makes progress until UCX's request is done, which it frees; false when it is not.
  bool Await(ucs_status_ptr_t request, Duration patience) ALPA_REQUIRES(mutex_);

  // Peers. The connecting thread attends: it reaches them all, then waits for the epoch's end, whoever brings it.
  void Attend(std::vector<ProcessAddress>& processes);
  void Connect(std::vector<ProcessAddress>& processes);
  void MeetTheRest(std::vector<ProcessAddress>& processes);
  bool Hear(Peer& peer, const AddressAnswer& answer) ALPA_REQUIRES(mutex_);   // false: ask again
  void Reach(Peer& peer, const std::string& ucx_address) ALPA_REQUIRES(mutex_);
  void OnGreeting(Operation& operation) ALPA_REQUIRES(mutex_);
  bool AllMet() const ALPA_REQUIRES(mutex_);   // but those that are lost
  static void OnLost(void* peer, ucp_ep_h endpoint, ucs_status_t status);
  void Fail(Peer& peer) ALPA_REQUIRES(mutex_);

  // The end.
  void AbortAs(const absl::Status& cause, bool notify_peers);
  void SignalStop();
  void Flush(Duration patience) ALPA_REQUIRES(mutex_);
  bool CloseEndpoints() ALPA_REQUIRES(mutex_);   // false: connections are left
  void DestroyWorker() ALPA_REQUIRES(mutex_);

  const std::shared_ptr<UcxContext> context_;
  AddressBook& book_;
  const uint64_t epoch_;
  const Duration spin_;
  const std::function<void(const absl::Status&)> on_told_;
  int driver_event_ = -1, watcher_event_ = -1;   // eventfds that wake these two
  int stop_event_ = -1;                          // never read: written on abort, at the end, or when a peer has aborted
  int ucx_event_ = -1;                           // a duplicate of the worker's, so that it outlives the worker
  std::vector<int> peer_of_rank_;                // -1: this process
  int first_rank_ = -1;                          // the lowest of this process
  bool published_ = false;
  std::thread watcher_, connector_;
  std::atomic<int> contenders_{0};               // threads about to lock the mutex for a short time

  Mutex mutex_;
  ucp_worker_h worker_ ALPA_GUARDED_BY(mutex_) = nullptr;
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  bool notify_peers_ ALPA_GUARDED_BY(mutex_) = false;   // of the abort
  bool stopping_ ALPA_GUARDED_BY(mutex_) = false;
  std::vector<Peer> peers_ ALPA_GUARDED_BY(mutex_);
  std::vector<Peer*> lost_ ALPA_GUARDED_BY(mutex_);   // whose operations are still to be failed
  Operation* open_ ALPA_GUARDED_BY(mutex_) = nullptr;   // all operations that are not done, a doubly linked list
  int waiters_ ALPA_GUARDED_BY(mutex_) = 0;
  bool driven_ ALPA_GUARDED_BY(mutex_) = false;
  bool driver_asleep_ ALPA_GUARDED_BY(mutex_) = false;
  bool watcher_asleep_ ALPA_GUARDED_BY(mutex_) = false;
};

}  // namespace alpa::comm
