// Connects an epoch to its peers, and ends its UCX worker.
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/status.h"
#include "comm/ucx/ucx_epoch.h"
#include "comm/ucx/ucx_error.h"
#include "comm/ucx/ucx_operation.h"

namespace alpa::comm {
namespace {

using std::chrono::milliseconds;

// Time limits. kAbortFlushPatience is for flushing messages on abort, and kClosePatience for closing one connection.
// kMeetPatience is for meeting the remaining peers when the epoch ends. kAskPatience is for a peer's answer, and
// kAskPatienceAtTheEnd for an answer when the epoch ends.
constexpr milliseconds kAbortFlushPatience{10}, kClosePatience{200}, kMeetPatience{1000};
constexpr milliseconds kAskPatience{1000}, kAskPatienceAtTheEnd{100};
constexpr std::byte kGreeting{1};

// Keeps a UCX worker that cannot be destroyed, and its context, until the process ends. A kept worker occupies memory
// and some file descriptors.
void Abandon(ucp_worker_h worker, std::shared_ptr<UcxContext> context) {
  static Mutex& mutex = *new Mutex;
  static auto& abandoned = *new std::vector<std::pair<ucp_worker_h, std::shared_ptr<UcxContext>>>;
  MutexLock lock(mutex);
  abandoned.emplace_back(worker, std::move(context));
}

}  // namespace

void UcxEpoch::Attend(std::vector<ProcessAddress>& processes) {
  Connect(processes);
  pollfd stop{stop_event_, POLLIN, 0};
  while (poll(&stop, 1, -1) < 0) {
  }
  bool by_peer, notify, all_met;
  {
    Lock lock(*this);
    by_peer = aborted_.ok() && !stopping_;
    notify = notify_peers_;
  }
  if (by_peer) {
    const absl::Status cause = absl::AbortedError(absl::StrFormat("another process aborted epoch %d", epoch_));
    if (on_peer_abort_) on_peer_abort_(cause);
    AbortAs(cause, false);
  }
  if (notify) NotifyAborted(processes, epoch_);
  {
    Lock lock(*this);
    all_met = AllMet();
  }
  if (all_met) return;
  MeetTheRest(processes);
  {
    Lock lock(*this);
    DestroyWorker();
  }
  if (notify) NotifyAborted(processes, epoch_);   // again, for peers that have opened the epoch in the meantime
}

// Asks the peers for their UCX addresses until all have answered or the epoch ends.
void UcxEpoch::Connect(std::vector<ProcessAddress>& processes) {
  std::vector<size_t> missing(processes.size());
  std::iota(missing.begin(), missing.end(), size_t{0});
  for (int pause = 1; !missing.empty(); pause = std::min(2 * pause, 20)) {
    std::erase_if(missing, [&](size_t i) {
      const AddressAnswer answer = AskAddress(processes[i], epoch_, stop_event_, kAskPatience);
      if (answer.kind == AddressAnswer::kAborted || answer.kind == AddressAnswer::kAbandoned) SignalStop();
      Lock lock(*this);
      return HandleAnswer(peers_[i], answer);
    });
    if (missing.empty()) return;
    pollfd stop{stop_event_, POLLIN, 0};
    if (poll(&stop, 1, pause) > 0) return;
  }
}

void UcxEpoch::MeetTheRest(std::vector<ProcessAddress>& processes) {
  const MonotonicTime deadline = Clock::Real().Now() + kMeetPatience;
  for (bool last = false;; last = Clock::Real().Now() >= deadline) {
    std::vector<size_t> missing;
    {
      Lock lock(*this);
      if (worker_ == nullptr) return;
      while (Progress() != 0) {
      }
      if (AllMet()) return;
      for (size_t i = 0; i < peers_.size(); ++i) {
        if (!peers_[i].met && peers_[i].endpoint == nullptr && peers_[i].failure.ok()) missing.push_back(i);
      }
      if (last) book_.Withdraw(epoch_, AddressBook::End::kClosing);   // from now on, a peer that asks gets no address
    }
    for (size_t i : missing) {
      const AddressAnswer answer = AskAddress(processes[i], epoch_, -1, kAskPatienceAtTheEnd);
      Lock lock(*this);
      (void)HandleAnswer(peers_[i], answer);
    }
    if (last) return;
    (void)poll(nullptr, 0, missing.empty() ? 1 : 5);
  }
}

bool UcxEpoch::HandleAnswer(Peer& peer, const AddressAnswer& answer) {
  peer.half_open = answer.kind == AddressAnswer::kUnknown || answer.kind == AddressAnswer::kAbandoned;
  switch (answer.kind) {
    case AddressAnswer::kNotOpen:
    case AddressAnswer::kUnknown: return false;
    case AddressAnswer::kAddress: Reach(peer, answer.ucx_address); break;
    case AddressAnswer::kOtherProcess:
      peer.failure = absl::UnavailableError("a peer's process is gone: another process now listens at its address");
      break;
    case AddressAnswer::kAborted:
    case AddressAnswer::kAbandoned: peer.failure = absl::AbortedError("a peer has aborted the epoch"); break;
  }
  if (!peer.failure.ok()) Fail(peer);
  WakeSleepers();
  return true;
}

void UcxEpoch::Reach(Peer& peer, const std::string& ucx_address) {
  if (worker_ == nullptr) return;
  peer.half_open = true;
  ucp_ep_params_t params{};
  params.field_mask =
      UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(ucx_address.data());
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;   // reports lost peers, and lets us close an endpoint without the peer
  params.err_handler = {&UcxEpoch::OnLost, &peer};
  const ucs_status_t status = ucp_ep_create(worker_, &params, &peer.endpoint);
  if (status != UCS_OK) {
    peer.endpoint = nullptr;
    peer.failure = UcxError("cannot reach a peer", status);
    return;
  }
  const auto greeting = [&](std::unique_ptr<Operation>& operation, int rank, const void* memory) -> Operation& {
    operation = std::make_unique<Operation>(*this, peer, TagOf(rank, rank, 0), memory, 1);
    operation->waited = operation->greeting = true;
    Add(*operation);
    return *operation;
  };
  PostReceive(greeting(peer.greeting_in, peer.first_rank, &peer.received), &peer.received);
  StartSend(greeting(peer.greeting_out, first_rank_, &kGreeting), peer.endpoint);
}

void UcxEpoch::OnGreeting(Operation& operation) {
  Peer& peer = operation.peer;
  if (!operation.status.ok()) {
    if (peer.failure.ok()) peer.failure = operation.status;
    lost_.push_back(&peer);
    return;
  }
  if (++peer.greetings < 2) return;
  peer.met = true;
  peer.half_open = false;
  for (Operation* early : std::exchange(peer.early, {})) StartSend(*early, peer.endpoint);
}

bool UcxEpoch::AllMet() const {
  return std::all_of(peers_.begin(), peers_.end(), [](const Peer& peer) { return peer.met || !peer.failure.ok(); });
}

// ---- The end of an epoch ----

// UCX calls OnLost only while this class calls a UCX function, so the mutex is held.
void UcxEpoch::OnLost(void* argument, ucp_ep_h endpoint, ucs_status_t status) {
  Peer& peer = *static_cast<Peer*>(argument);
  if (peer.failure.ok()) peer.failure = UcxError("lost the connection to a peer", status);
  peer.epoch->lost_.push_back(&peer);
}

void UcxEpoch::Fail(Peer& peer) {
  for (Operation* early : std::exchange(peer.early, {})) Finish(*early, peer.failure);
  CancelReceives(&peer);
}

void UcxEpoch::CancelReceives(const Peer* from) {
  std::vector<Operation*> receives;
  for (Operation* operation = open_; operation != nullptr; operation = operation->next) {
    const bool chosen = from == nullptr ? !operation->greeting : &operation->peer == from;
    if (chosen && operation->receive != nullptr) receives.push_back(operation);
  }
  // Cancelling a receive ends it only if no message has matched it yet.
  for (Operation* operation : receives) {
    if (operation->receive != nullptr) ucp_request_cancel(worker_, operation->receive);
  }
}

unsigned UcxEpoch::Progress() {
  const unsigned count = ucp_worker_progress(worker_);
  while (!lost_.empty()) {
    Peer* peer = lost_.back();
    lost_.pop_back();
    Fail(*peer);
  }
  return count;
}

bool UcxEpoch::Await(ucs_status_ptr_t request, Duration patience) {
  if (request == nullptr || UCS_PTR_IS_ERR(request)) return true;
  const MonotonicTime deadline = Clock::Real().Now() + patience;
  while (ucp_request_check_status(request) == UCS_INPROGRESS && Clock::Real().Now() < deadline) {
    if (Progress() == 0) sched_yield();
  }
  const bool done = ucp_request_check_status(request) != UCS_INPROGRESS;
  ucp_request_free(request);
  return done;
}

void UcxEpoch::Flush(Duration patience) {
  if (worker_ == nullptr) return;
  ucp_request_param_t params{};
  (void)Await(ucp_worker_flush_nbx(worker_, &params), patience);
}

bool UcxEpoch::CloseEndpoints() {
  std::vector<ucs_status_ptr_t> requests;
  bool all = true;
  for (Peer& peer : peers_) {
    all = all && !peer.half_open;
    if (!peer.met || peer.endpoint == nullptr) continue;
    ucp_request_param_t params{};
    params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    params.flags = UCP_EP_CLOSE_FLAG_FORCE;
    requests.push_back(ucp_ep_close_nbx(std::exchange(peer.endpoint, nullptr), &params));
  }
  for (ucs_status_ptr_t request : requests) all = Await(request, kClosePatience) && all;
  return all;
}

void UcxEpoch::DestroyWorker() {
  if (worker_ == nullptr) return;
  const bool all_closed = CloseEndpoints();
  if (all_closed) {
    ucp_worker_destroy(worker_);
  } else {
    Abandon(worker_, context_);
  }
  worker_ = nullptr;
  if (!published_) return;
  book_.Withdraw(epoch_, aborted_.ok() ? AddressBook::End::kDone
                         : all_closed  ? AddressBook::End::kAborted
                                       : AddressBook::End::kAbandoned);
}

void UcxEpoch::AbortAs(const absl::Status& cause, bool notify_peers) {
  Lock lock(*this);
  if (!aborted_.ok()) return;
  notify_peers_ = notify_peers;
  aborted_ = cause.ok() ? absl::CancelledError("aborted") : cause;
  // UCX must stop using the operations' memory before the waiters return.
  for (Peer& peer : peers_) peer.early.clear();
  if (AllMet()) {
    Flush(kAbortFlushPatience);   // a peer may still need a flushed message to finish its greeting
    DestroyWorker();
  } else if (worker_ != nullptr) {
    (void)CloseEndpoints();
    CancelReceives(nullptr);
    // UCX cannot cancel the receive of a message that has arrived in part. After DestroyWorker, no thread calls UCX
    // again, so UCX no longer writes to the message's memory.
    for (Operation* operation = open_; operation != nullptr && worker_ != nullptr; operation = operation->next) {
      if (!operation->greeting && operation->receive != nullptr) DestroyWorker();
    }
  }
  for (Operation* operation = open_; operation != nullptr;) {
    Operation* const next = operation->next;
    if (!operation->greeting) Finish(*operation, aborted_);
    operation = next;
  }
  SignalStop();
  WakeDriver();
}

}  // namespace alpa::comm
