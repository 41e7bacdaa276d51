// One epoch of one process: a ucp_worker of its own with its progress thread.
//
// Threads: thread-safe. UCX is called under one mutex.
// Abort:   fails every present and later operation at once; memory of unfinished operations is the caller's again when
//          Wait returns, because the ucp_worker is destroyed first, and with it whatever might still have touched it.
#pragma once

#include <ucp/api/ucp.h>

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "comm/transport.h"

namespace alpa::comm {

class UcxEpoch {
 public:
  static absl::StatusOr<std::shared_ptr<UcxEpoch>> Open(ucp_context_h context, uint64_t epoch);
  ~UcxEpoch();

  const std::string& address() const { return address_; }

  // Message from rank `from` to rank `to`. `peer_address`: of the process of rank `to`, as AddressBook serves it.
  std::unique_ptr<Request> Send(int from, int to, const std::string& peer_address, uint32_t tag,
                                std::span<const std::byte> data);
  std::unique_ptr<Request> Recv(int from, int to, uint32_t tag, std::span<std::byte> data);
  void Abort(const absl::Status& cause);

 private:
  friend class UcxRequest;
  // State of one operation; owned by its request, and by UCX (user data) while in flight.
  struct Operation {
    bool done = false;
    absl::Status status;
    size_t expected = 0;
    UcxEpoch* epoch = nullptr;
  };
  UcxEpoch() = default;
  void ProgressLoop();
  void Wake();
  void DestroyWorker() ALPA_REQUIRES(mutex_);
  void Finish(Operation* operation, ucs_status_t status, size_t received) ALPA_REQUIRES(mutex_);
  absl::StatusOr<ucp_ep_h> EndpointTo(const std::string& peer_address);
  static void OnSent(void* request, ucs_status_t status, void* user_data);
  static void OnReceived(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* user_data);

  uint64_t epoch_ = 0;
  std::string address_;
  int wake_ = -1;           // eventfd
  int ucx_events_ = -1;     // owned by UCX
  std::atomic<bool> stopping_{false};
  std::thread progress_;
  Mutex mutex_;
  CondVar finished_;
  ucp_worker_h worker_ ALPA_GUARDED_BY(mutex_) = nullptr;
  absl::Status aborted_ ALPA_GUARDED_BY(mutex_);
  std::map<std::string, ucp_ep_h> endpoints_ ALPA_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<Operation>> in_flight_ ALPA_GUARDED_BY(mutex_);
};

}  // namespace alpa::comm
