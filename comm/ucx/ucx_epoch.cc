#include "comm/ucx/ucx_epoch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>

#include "base/status.h"
#include "comm/ucx/address_book.h"

namespace alpa::comm {
namespace {

absl::Status UcxError(const char* what, ucs_status_t status) {
  return absl::UnavailableError(absl::StrCat(what, ": ", ucs_status_string(status)));
}

// Within an epoch's own worker: sender (16 bits), receiver (16 bits), the caller's tag (32 bits).
ucp_tag_t TagOf(int from, int to, uint32_t tag) {
  return (static_cast<ucp_tag_t>(from) << 48) | (static_cast<ucp_tag_t>(to) << 32) | tag;
}

}  // namespace

class UcxRequest : public Request {
 public:
  UcxRequest(UcxEpoch& epoch, std::shared_ptr<UcxEpoch::Operation> operation)
      : epoch_(epoch), operation_(std::move(operation)) {}

  absl::Status Wait() override {
    MutexLock lock(epoch_.mutex_);
    while (!operation_->done) epoch_.finished_.Wait(lock);
    epoch_.in_flight_.erase(operation_);
    return operation_->status;
  }

 private:
  UcxEpoch& epoch_;
  const std::shared_ptr<UcxEpoch::Operation> operation_;
};

absl::StatusOr<std::shared_ptr<UcxEpoch>> UcxEpoch::Open(ucp_context_h context, uint64_t epoch) {
  std::shared_ptr<UcxEpoch> self(new UcxEpoch());
  self->epoch_ = epoch;
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  MutexLock lock(self->mutex_);
  ucs_status_t status = ucp_worker_create(context, &params, &self->worker_);
  if (status != UCS_OK) return UcxError("cannot create a UCX worker", status);
  ucp_address_t* address = nullptr;
  size_t length = 0;
  status = ucp_worker_get_address(self->worker_, &address, &length);
  if (status != UCS_OK) return UcxError("no UCX address", status);
  self->address_.assign(reinterpret_cast<const char*>(address), length);
  ucp_worker_release_address(self->worker_, address);
  status = ucp_worker_get_efd(self->worker_, &self->ucx_events_);
  if (status != UCS_OK) return UcxError("UCX has no event descriptor", status);
  self->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (self->wake_ < 0) return absl::UnavailableError("no eventfd");
  self->progress_ = std::thread([raw = self.get()] { raw->ProgressLoop(); });
  return self;
}

UcxEpoch::~UcxEpoch() {
  stopping_ = true;
  if (progress_.joinable()) {
    Wake();
    progress_.join();
  }
  {
    MutexLock lock(mutex_);
    DestroyWorker();
  }
  if (wake_ >= 0) close(wake_);
}

void UcxEpoch::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_, &one, sizeof(one));
}

void UcxEpoch::DestroyWorker() {
  if (worker_ == nullptr) return;
  // Endpoints go with their worker. Nothing waits for peers, which may be gone.
  ucp_worker_destroy(worker_);
  worker_ = nullptr;
  endpoints_.clear();
}

void UcxEpoch::ProgressLoop() {
  // A few empty rounds before sleeping: the answer to a small message is often there within microseconds.
  constexpr int kIdleRounds = 200;
  int idle = 0;
  while (!stopping_) {
    bool sleep = false;
    {
      MutexLock lock(mutex_);
      if (worker_ == nullptr) return;
      idle = ucp_worker_progress(worker_) != 0 ? 0 : idle + 1;
      if (idle > kIdleRounds) sleep = ucp_worker_arm(worker_) == UCS_OK;
    }
    if (!sleep) {
      if (idle > 0) sched_yield();
      continue;
    }
    pollfd fds[2] = {{ucx_events_, POLLIN, 0}, {wake_, POLLIN, 0}};
    (void)poll(fds, 2, 100);
    uint64_t count;
    (void)!read(wake_, &count, sizeof(count));
    idle = 0;
  }
}

void UcxEpoch::Finish(Operation* operation, ucs_status_t status, size_t received) {
  if (operation->done) return;
  if (status != UCS_OK) {
    operation->status = aborted_.ok() ? UcxError("UCX", status) : aborted_;
  } else if (received != operation->expected) {
    operation->status = InvalidArgument("a message of %d bytes met a receive of %d", received, operation->expected);
  }
  operation->done = true;
  finished_.NotifyAll();
}

// Called inside UCX functions, so with the epoch's mutex held.
void UcxEpoch::OnSent(void* request, ucs_status_t status, void* user_data) {
  Operation* operation = static_cast<Operation*>(user_data);
  operation->epoch->Finish(operation, status, operation->expected);
  ucp_request_free(request);
}
void UcxEpoch::OnReceived(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* user_data) {
  Operation* operation = static_cast<Operation*>(user_data);
  operation->epoch->Finish(operation, status, info->length);
  ucp_request_free(request);
}

absl::StatusOr<ucp_ep_h> UcxEpoch::EndpointTo(const std::string& peer_address) {
  {
    MutexLock lock(mutex_);
    if (!aborted_.ok()) return aborted_;
    if (auto found = endpoints_.find(peer_address); found != endpoints_.end()) return found->second;
  }
  // The peer may not have opened the epoch yet: ask without holding anything up.
  ALPA_ASSIGN_OR_RETURN(const std::string ucx_address, AskAddress(peer_address, epoch_, [this] {
                          MutexLock lock(mutex_);
                          return stopping_ || !aborted_.ok();
                        }));
  MutexLock lock(mutex_);
  if (!aborted_.ok()) return aborted_;
  if (auto found = endpoints_.find(peer_address); found != endpoints_.end()) return found->second;
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS;
  params.address = reinterpret_cast<const ucp_address_t*>(ucx_address.data());
  ucp_ep_h endpoint = nullptr;
  const ucs_status_t status = ucp_ep_create(worker_, &params, &endpoint);
  if (status != UCS_OK) return UcxError("cannot reach the peer", status);
  endpoints_[peer_address] = endpoint;
  return endpoint;
}

std::unique_ptr<Request> UcxEpoch::Send(int from, int to, const std::string& peer_address, uint32_t tag,
                                        std::span<const std::byte> data) {
  auto operation = std::make_shared<Operation>();
  operation->epoch = this;
  operation->expected = data.size();
  absl::StatusOr<ucp_ep_h> endpoint = EndpointTo(peer_address);
  {
    MutexLock lock(mutex_);
    if (!aborted_.ok() || !endpoint.ok()) {
      operation->status = aborted_.ok() ? endpoint.status() : aborted_;
      operation->done = true;
    } else {
      ucp_request_param_t params{};
      params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
      params.cb.send = &UcxEpoch::OnSent;
      params.user_data = operation.get();
      const ucs_status_ptr_t result = ucp_tag_send_nbx(*endpoint, data.data(), data.size(), TagOf(from, to, tag), &params);
      if (result == nullptr) operation->done = true;
      else if (UCS_PTR_IS_ERR(result)) Finish(operation.get(), UCS_PTR_STATUS(result), 0);
      else in_flight_.insert(operation);
    }
  }
  if (!operation->done) Wake();
  return std::make_unique<UcxRequest>(*this, std::move(operation));
}

std::unique_ptr<Request> UcxEpoch::Recv(int from, int to, uint32_t tag, std::span<std::byte> data) {
  auto operation = std::make_shared<Operation>();
  operation->epoch = this;
  operation->expected = data.size();
  {
    MutexLock lock(mutex_);
    if (!aborted_.ok()) {
      operation->status = aborted_;
      operation->done = true;
    } else {
      // Always through the callback, which alone tells the length reliably.
      ucp_request_param_t params{};
      params.op_attr_mask =
          UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
      params.cb.recv = &UcxEpoch::OnReceived;
      params.user_data = operation.get();
      const ucs_status_ptr_t result =
          ucp_tag_recv_nbx(worker_, data.data(), data.size(), TagOf(from, to, tag), ~ucp_tag_t{0}, &params);
      if (UCS_PTR_IS_ERR(result)) Finish(operation.get(), UCS_PTR_STATUS(result), 0);
      else if (!operation->done) in_flight_.insert(operation);
    }
  }
  Wake();
  return std::make_unique<UcxRequest>(*this, std::move(operation));
}

void UcxEpoch::Abort(const absl::Status& cause) {
  {
    MutexLock lock(mutex_);
    if (!aborted_.ok()) return;
    aborted_ = cause;
    // First the worker goes, then the waiters may: their memory is touched no more.
    DestroyWorker();
    for (const std::shared_ptr<Operation>& operation : in_flight_) {
      if (operation->done) continue;
      operation->status = cause;
      operation->done = true;
    }
    in_flight_.clear();
  }
  finished_.NotifyAll();
  Wake();
}

}  // namespace alpa::comm
