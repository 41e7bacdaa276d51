#include "comm/ucx/ucx_epoch.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/status.h"
#include "comm/ucx/ucx_error.h"
#include "comm/ucx/ucx_operation.h"

namespace alpa::comm {
namespace {

// The number of ucp_worker_progress calls between two readings of the clock.
constexpr int kDriverRounds = 16;
// If more than kQuietNaps checks in a row find no open operation, the watching thread sleeps until another thread wakes
// it.
constexpr int kQuietNaps = 64;
// The longest nap of the watching thread between two checks, in milliseconds.
constexpr int kMaxNapMillis = 8;
// The time limit for flushing messages in the destructor.
constexpr std::chrono::milliseconds kFlushPatience{200};

int NewEvent() { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
void Signal(int event) {
  const uint64_t one = 1;
  (void)!write(event, &one, sizeof(one));
}
void Drain(int event) {
  uint64_t count;
  (void)!read(event, &count, sizeof(count));
}

}  // namespace

UcxEpoch::UcxEpoch(std::shared_ptr<UcxContext> context, AddressBook& book, const Options& options)
    : context_(std::move(context)), book_(book), epoch_(options.epoch), spin_(options.spin),
      on_peer_abort_(options.on_peer_abort) {}

absl::StatusOr<std::unique_ptr<UcxEpoch>> UcxEpoch::Open(std::shared_ptr<UcxContext> context, AddressBook& book,
                                                         const Options& options) {
  if (options.addresses.size() > kMaxRanks) {
    return InvalidArgument("cannot open an epoch of %d ranks: message tags have room for %d", options.addresses.size(),
                           kMaxRanks);
  }
  std::unique_ptr<UcxEpoch> self(new UcxEpoch(std::move(context), book, options));
  ALPA_RETURN_IF_ERROR(self->Start(options));
  return self;
}

absl::Status UcxEpoch::Start(const Options& options) {
  MutexLock lock(mutex_);
  std::vector<ProcessAddress> processes;
  std::map<std::string, int> known;
  for (const std::string& address : options.addresses) {
    const int rank = static_cast<int>(peer_of_rank_.size());
    if (address.empty()) {
      if (first_rank_ < 0) first_rank_ = rank;
      peer_of_rank_.push_back(-1);
      continue;
    }
    const auto [at, is_new] = known.try_emplace(address, static_cast<int>(peers_.size()));
    if (is_new) {
      peers_.emplace_back();
      peers_.back().epoch = this;
      peers_.back().first_rank = rank;
      ALPA_ASSIGN_OR_RETURN(ProcessAddress process, ParseProcessAddress(address));
      processes.push_back(std::move(process));
    }
    peer_of_rank_.push_back(at->second);
  }
  for (int* event : {&driver_event_, &watcher_event_, &stop_event_}) {
    *event = NewEvent();
    if (*event < 0) return absl::ResourceExhaustedError("cannot create an epoch's events: no file descriptors left");
  }
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  ucs_status_t status = ucp_worker_create(context_->handle, &params, &worker_);
  if (status != UCS_OK) return UcxError("cannot create a UCX worker", status);
  int event = -1;
  status = ucp_worker_get_efd(worker_, &event);
  if (status != UCS_OK) return UcxError("cannot get the UCX worker's event descriptor", status);
  ucx_event_ = dup(event);
  if (ucx_event_ < 0) return absl::ResourceExhaustedError("cannot create an epoch's events: no file descriptors left");
  ucp_address_t* address = nullptr;
  size_t length = 0;
  status = ucp_worker_get_address(worker_, &address, &length);
  if (status != UCS_OK) return UcxError("cannot get the UCX worker's address", status);
  std::string text(reinterpret_cast<const char*>(address), length);
  ucp_worker_release_address(worker_, address);
  published_ = book_.Publish(epoch_, std::move(text), stop_event_);
  if (!published_) return FailedPrecondition("epoch %d is already open in this process", epoch_);
  watcher_ = std::thread([this] { Watch(); });
  connector_ = std::thread([this, processes = std::move(processes)]() mutable { Attend(processes); });
  return absl::OkStatus();
}

UcxEpoch::~UcxEpoch() {
  {
    Lock lock(*this);
    stopping_ = true;
    if (stop_event_ >= 0) SignalStop();
    if (watcher_event_ >= 0) Signal(watcher_event_);
  }
  if (watcher_.joinable()) watcher_.join();
  if (connector_.joinable()) connector_.join();
  {
    MutexLock lock(mutex_);
    Flush(kFlushPatience);
    DestroyWorker();
  }
  for (int event : {driver_event_, watcher_event_, stop_event_, ucx_event_}) {
    if (event >= 0) close(event);
  }
}

void UcxEpoch::Abort(const absl::Status& cause) { AbortAs(cause, true); }
void UcxEpoch::SignalStop() { Signal(stop_event_); }
void UcxEpoch::WakeDriver() { Signal(driver_event_); }

// ---- Sends and receives ----

// Returns the UCX tag of a message. Bits 63..56 are the epoch's lowest 8 bits. These bits are a second protection
// against messages of other epochs. The first one is that each epoch has a separate UCX worker. Bits 55..44 are the
// sender, bits 43..32 the receiver, and bits 31..0 the caller's tag.
ucp_tag_t UcxEpoch::TagOf(int from, int to, uint32_t tag) const {
  return (epoch_ << 56) | (static_cast<ucp_tag_t>(from) << 44) | (static_cast<ucp_tag_t>(to) << 32) | tag;
}

void UcxEpoch::Add(Operation& operation) {
  operation.next = open_;
  if (open_ != nullptr) open_->previous = &operation;
  open_ = &operation;
}

void UcxEpoch::Finish(Operation& operation, absl::Status status) {
  if (operation.done) return;
  operation.done = true;
  // Destroying the UCX worker cancels open operations. A cancelled operation must report the cause of the abort.
  operation.status = status.ok() || aborted_.ok() ? std::move(status) : aborted_;
  if (operation.next != nullptr) operation.next->previous = operation.previous;
  if (operation.previous != nullptr) operation.previous->next = operation.next;
  if (open_ == &operation) open_ = operation.next;
  if (operation.blocked) operation.changed.NotifyOne();
  if (operation.greeting) OnGreeting(operation);
}

// UCX calls the next two callbacks only while this class calls a UCX function, so the mutex is held.
void UcxEpoch::OnSent(void* request, ucs_status_t status, void* user_data) {
  Operation& operation = *static_cast<Operation*>(user_data);
  operation.epoch.Finish(operation, status == UCS_OK ? absl::OkStatus() : UcxError("a send to a peer failed", status));
  ucp_request_free(request);
}

void UcxEpoch::OnReceived(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* user_data) {
  Operation& operation = *static_cast<Operation*>(user_data);
  operation.receive = nullptr;
  absl::Status result;
  if (status == UCS_ERR_CANCELED && !operation.peer.failure.ok()) {
    result = operation.peer.failure;
  } else if (status == UCS_ERR_MESSAGE_TRUNCATED) {
    result = InvalidArgument("a message is longer than its receive of %d bytes", operation.bytes);
  } else if (status != UCS_OK) {
    result = UcxError("a receive from a peer failed", status);
  } else if (info->length != operation.bytes) {
    result = InvalidArgument("a message of %d bytes does not fit its receive of %d bytes", info->length,
                             operation.bytes);
  }
  operation.epoch.Finish(operation, std::move(result));
  ucp_request_free(request);
}

void UcxEpoch::StartSend(Operation& operation, ucp_ep_h endpoint) {
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  params.cb.send = &UcxEpoch::OnSent;
  params.user_data = &operation;
  // A greeting is sent synchronously: the send is done only when the peer has received the greeting. At that time, the
  // connection is fully established.
  const auto send = operation.greeting ? &ucp_tag_send_sync_nbx : &ucp_tag_send_nbx;
  const ucs_status_ptr_t result = send(endpoint, operation.memory, operation.bytes, operation.tag, &params);
  if (result == nullptr) {
    Finish(operation, absl::OkStatus());
  } else if (UCS_PTR_IS_ERR(result)) {
    Finish(operation, UcxError("cannot send to a peer", UCS_PTR_STATUS(result)));
  }
}

void UcxEpoch::PostReceive(Operation& operation, void* memory) {
  ucp_request_param_t params{};
  // NO_IMM_CMPL: if a receive completes immediately, UCX 1.13 does not report the message's length.
  params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
  params.cb.recv = &UcxEpoch::OnReceived;
  params.user_data = &operation;
  const ucs_status_ptr_t result =
      ucp_tag_recv_nbx(worker_, memory, operation.bytes, operation.tag, ~ucp_tag_t{0}, &params);
  if (UCS_PTR_IS_ERR(result)) Finish(operation, UcxError("cannot receive from a peer", UCS_PTR_STATUS(result)));
  else if (!operation.done) operation.receive = result;
}

// Returns whether a message for this receive has already arrived. A peer may have sent a message before it was lost.
bool UcxEpoch::IsHere(const Operation& operation) {
  ucp_tag_recv_info_t info;
  return worker_ != nullptr && ucp_tag_probe_nb(worker_, operation.tag, ~ucp_tag_t{0}, 0, &info) != nullptr;
}

std::unique_ptr<Request> UcxEpoch::Send(int from, int to, uint32_t tag, std::span<const std::byte> data) {
  Lock lock(*this);
  Peer& peer = peers_[peer_of_rank_[to]];
  auto operation = std::make_unique<Operation>(*this, peer, TagOf(from, to, tag), data.data(), data.size());
  Add(*operation);
  if (!aborted_.ok()) Finish(*operation, aborted_);
  else if (!peer.failure.ok()) Finish(*operation, peer.failure);
  else if (!peer.met) peer.early.push_back(operation.get());
  else StartSend(*operation, peer.endpoint);
  if (!operation->done) WakeSleepers();
  return operation;
}

std::unique_ptr<Request> UcxEpoch::Recv(int from, int to, uint32_t tag, std::span<std::byte> data) {
  Lock lock(*this);
  Peer& peer = peers_[peer_of_rank_[from]];
  auto operation = std::make_unique<Operation>(*this, peer, TagOf(from, to, tag), data.data(), data.size());
  Add(*operation);
  if (!aborted_.ok()) Finish(*operation, aborted_);
  else if (!peer.failure.ok() && !IsHere(*operation)) Finish(*operation, peer.failure);
  else PostReceive(*operation, data.data());
  if (!operation->done) WakeSleepers();
  return operation;
}

// ---- Progress of operations ----

// UCX's events do not wake a sleeping thread if this process itself adds an operation, so this function wakes the
// threads.
void UcxEpoch::WakeSleepers() {
  if (driver_asleep_) {
    driver_asleep_ = false;
    Signal(driver_event_);
  }
  if (watcher_asleep_) {
    watcher_asleep_ = false;
    Signal(watcher_event_);
  }
}

absl::Status UcxEpoch::Wait(Operation& operation) {
  {
    Lock lock(*this);
    if (operation.done) return operation.status;
    ++waiters_;
    while (!operation.done && driven_) {
      operation.blocked = true;
      operation.changed.Wait(lock.get());
      operation.blocked = false;
    }
    if (operation.done) {
      --waiters_;
      return operation.status;
    }
    driven_ = true;
  }
  return Drive(operation);
}

absl::Status UcxEpoch::Drive(Operation& operation) {
  MonotonicTime spin_until = Clock::Real().Now() + spin_;
  bool may_sleep = false;
  for (;;) {
    bool asleep = false, moved = false;
    {
      MutexLock lock(mutex_);
      for (int round = 0; !operation.done && round < kDriverRounds; ++round) {
        // The UCX worker exists as long as any operation is open.
        if (Progress() != 0) moved = true;
        if (contenders_.load(std::memory_order_relaxed) > 0) break;
      }
      if (operation.done) {
        driven_ = false;
        --waiters_;
        for (Operation* other = open_; other != nullptr; other = other->next) {
          if (!other->blocked) continue;
          other->changed.NotifyOne();   // the thread that waits for `other` becomes the driver
          break;
        }
        return operation.status;
      }
      if (may_sleep) asleep = driver_asleep_ = ucp_worker_arm(worker_) == UCS_OK;
    }
    if (!asleep) {
      sched_yield();
      const MonotonicTime now = Clock::Real().Now();
      if (moved) spin_until = now + spin_;  // a long message arrives in fragments, and the next fragment may come soon
      may_sleep = now >= spin_until;
      continue;
    }
    pollfd fds[2] = {{ucx_event_, POLLIN, 0}, {driver_event_, POLLIN, 0}};
    (void)poll(fds, 2, -1);
    {
      MutexLock lock(mutex_);
      driver_asleep_ = false;
      if (aborted_.ok()) Drain(driver_event_);
    }
    may_sleep = false;
    spin_until = Clock::Real().Now() + spin_;
  }
}

void UcxEpoch::Watch() {
  int quiet = 0, nap = 1;
  for (;;) {
    bool armed = false;
    int timeout = 1;
    {
      MutexLock lock(mutex_);
      if (stopping_ || !aborted_.ok()) return;
      Drain(watcher_event_);
      if (open_ == nullptr) {
        watcher_asleep_ = ++quiet > kQuietNaps;
        timeout = watcher_asleep_ ? -1 : nap;
      } else if (waiters_ > 0) {
        quiet = 0;
        timeout = nap = std::min(2 * nap, kMaxNapMillis);
      } else {
        quiet = 0;
        nap = 1;
        while (Progress() != 0 && open_ != nullptr && contenders_.load() == 0) {
        }
        watcher_asleep_ = armed = open_ != nullptr && ucp_worker_arm(worker_) == UCS_OK;
        timeout = armed ? -1 : open_ != nullptr ? 0 : 1;
      }
    }
    pollfd fds[3] = {{watcher_event_, POLLIN, 0}, {stop_event_, POLLIN, 0}, {ucx_event_, POLLIN, 0}};
    (void)poll(fds, armed ? 3 : 2, timeout);
    if (timeout == 0) sched_yield();
  }
}

}  // namespace alpa::comm
