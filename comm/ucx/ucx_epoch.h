// One epoch of one process: a ucp_worker of its own, its connections, and the threads that move its messages.
//
// Progress: UCX moves data only while somebody calls it. Whoever waits for an operation does so (one thread at a time, the
//           driver), first spinning, then asleep on UCX's event descriptor. While operations are open and nobody waits, a
//           watching thread takes over within a millisecond; it costs nothing while there are none.
// Abort:    fails every present and later operation at once. The ucp_worker is destroyed first, and with it whatever might still
//           have written to a receive's memory; nothing is said to peers, which may be gone.
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

  // Publishes the epoch in `book` and starts to look for the peers. `context` and `book` must outlive it.
  static absl::StatusOr<std::unique_ptr<UcxEpoch>> Open(ucp_context_h context, AddressBook& book, const Options& options);
  // Lets go what was sent, for a fifth of a second at most.
  ~UcxEpoch();

  // Message from rank `from` to rank `to`, one of which is of this process. The request must not outlive this.
  std::unique_ptr<Request> Send(int from, int to, uint32_t tag, std::span<const std::byte> data);
  std::unique_ptr<Request> Recv(int from, int to, uint32_t tag, std::span<std::byte> data);
  void Abort(const absl::Status& cause);

 private:
  class Operation;
  // Another process. Sends wait in `early` until it is reached.
  struct Peer {
    ucp_ep_h endpoint = nullptr;
    absl::Status failure;
    std::deque<Operation*> early;
  };
  // Locks the mutex ahead of a driver that would take it again at once.
  class Lock;

  UcxEpoch(AddressBook& book, const Options& options)
      : book_(book), epoch_(options.epoch), spin_(options.spin), on_told_(options.on_told) {}
  absl::Status Start(ucp_context_h context, const Options& options);
  ucp_tag_t TagOf(int from, int to, uint32_t tag) const;

  void StartSend(Operation& operation, ucp_ep_h endpoint) ALPA_REQUIRES(mutex_);
  void Add(Operation& operation) ALPA_REQUIRES(mutex_);
  void Finish(Operation& operation, absl::Status status) ALPA_REQUIRES(mutex_);
  static void OnSent(void* request, ucs_status_t status, void* user_data);
  static void OnReceived(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* user_data);

  absl::Status Wait(Operation& operation);
  absl::Status Drive(Operation& operation);
  void Watch();
  void WakeSleepers() ALPA_REQUIRES(mutex_);

  // The connecting thread: reaches all peers, then waits for the epoch's end, whoever brings it.
  void Attend(std::vector<ProcessAddress>& processes);
  void Connect(std::vector<ProcessAddress>& processes);
  void AbortAs(const absl::Status& cause, bool tell_peers);
  void Reach(Peer& peer, const absl::StatusOr<std::string>& ucx_address) ALPA_REQUIRES(mutex_);
  void Stop();
  void Flush() ALPA_REQUIRES(mutex_);
  void DestroyWorker() ALPA_REQUIRES(mutex_);

  AddressBook& book_;
  const uint64_t epoch_;
  const Duration spin_;
  const std::function<void(const absl::Status&)> on_told_;
  int driver_event_ = -1, watcher_event_ = -1;   // eventfds that wake these two
  int stop_event_ = -1;                          // never read: written on abort, at the end, or when a peer has aborted
  int ucx_event_ = -1;                           // a duplicate of the worker's, so that it outlives the worker
  std::vector<int> peer_of_rank_;                // -1: this process
  bool published_ = false;
  std::thread watcher_, connector_;
  std::atomic<int> contenders_{0};               // threads about to lock the mutex for a short time

  Mutex mutex_;
  ucp_worker_h worker_ ALPA_GUARDED_BY(mutex_) = nullptr;
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  bool tell_peers_ ALPA_GUARDED_BY(mutex_) = false;   // of the abort
  bool stopping_ ALPA_GUARDED_BY(mutex_) = false;
  std::vector<Peer> peers_ ALPA_GUARDED_BY(mutex_);
  Operation* open_ ALPA_GUARDED_BY(mutex_) = nullptr;   // all operations that are not done, a doubly linked list
  int waiters_ ALPA_GUARDED_BY(mutex_) = 0;
  bool driven_ ALPA_GUARDED_BY(mutex_) = false;
  bool driver_asleep_ ALPA_GUARDED_BY(mutex_) = false;
  bool watcher_asleep_ ALPA_GUARDED_BY(mutex_) = false;
};

}  // namespace alpa::comm
