#include "comm/ucx/ucx_transport.h"

#include <ucs/config/global_opts.h>

#include <cstdlib>

#include "base/status.h"
#include "comm/local/mailbox.h"
#include "comm/ucx/address_book.h"
#include "comm/ucx/ucx_epoch.h"
#include "comm/ucx/ucx_error.h"

namespace alpa::comm {
namespace {

// The parts that all epochs of a transport share. They live as long as the transport or any epoch.
struct Process {
  std::shared_ptr<UcxContext> context = std::make_shared<UcxContext>();
  std::unique_ptr<AddressBook> book;
};

// The parts that the local ranks of an epoch share.
class SharedEpoch {
 public:
  SharedEpoch(std::shared_ptr<Process> process, std::vector<bool> local, std::unique_ptr<Mailbox> mailbox,
              std::unique_ptr<UcxEpoch> ucx)
      : process_(std::move(process)), local_(std::move(local)), mailbox_(std::move(mailbox)), ucx_(std::move(ucx)) {}

  int size() const { return static_cast<int>(local_.size()); }
  std::unique_ptr<Request> Send(int from, int to, uint32_t tag, std::span<const std::byte> data) {
    return local_[to] ? mailbox_->Send(from, to, tag, data) : ucx_->Send(from, to, tag, data);
  }
  std::unique_ptr<Request> Recv(int from, int to, uint32_t tag, std::span<std::byte> data) {
    return local_[from] ? mailbox_->Recv(from, to, tag, data) : ucx_->Recv(from, to, tag, data);
  }
  void Abort(const absl::Status& cause) {
    mailbox_->Abort(cause);
    if (ucx_ != nullptr) ucx_->Abort(cause);
  }

 private:
  const std::shared_ptr<Process> process_;   // ucx_ uses its context and its address book
  const std::vector<bool> local_;            // one entry per rank: whether this process holds the rank's device
  const std::unique_ptr<Mailbox> mailbox_;   // ucx_ aborts the mailbox if another process aborts the epoch
  const std::unique_ptr<UcxEpoch> ucx_;      // null if all ranks are local
};

class UcxEndpoint : public Endpoint {
 public:
  UcxEndpoint(std::shared_ptr<SharedEpoch> epoch, int rank) : epoch_(std::move(epoch)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return epoch_->size(); }
  std::unique_ptr<Request> Send(int peer, uint32_t tag, std::span<const std::byte> data) override {
    if (peer < 0 || peer >= size()) return MakeFailedRequest(NoSuchRank(peer));
    return epoch_->Send(rank_, peer, tag, data);
  }
  std::unique_ptr<Request> Recv(int peer, uint32_t tag, std::span<std::byte> data) override {
    if (peer < 0 || peer >= size()) return MakeFailedRequest(NoSuchRank(peer));
    return epoch_->Recv(peer, rank_, tag, data);
  }
  void Abort(const absl::Status& cause) override { epoch_->Abort(cause); }

 private:
  absl::Status NoSuchRank(int peer) const {
    return InvalidArgument("cannot exchange a message with rank %d: the epoch has %d ranks", peer, size());
  }

  const std::shared_ptr<SharedEpoch> epoch_;   // lives as long as any of its endpoints
  const int rank_;
};

class UcxTransport : public Transport {
 public:
  UcxTransport(std::shared_ptr<Process> process, Duration spin) : process_(std::move(process)), spin_(spin) {}

  std::string address() const override { return process_->book->address(); }

  absl::StatusOr<std::vector<std::unique_ptr<Endpoint>>> Open(uint64_t epoch, const std::vector<Peer>& ranks) override {
    auto mailbox = std::make_unique<Mailbox>();
    UcxEpoch::Options options{.epoch = epoch, .addresses = {}, .spin = spin_,
                              .on_peer_abort = [raw = mailbox.get()](const absl::Status& cause) { raw->Abort(cause); }};
    std::vector<bool> local;
    bool remote = false;
    for (const Peer& peer : ranks) {
      local.push_back(peer.local);
      options.addresses.push_back(peer.local ? "" : peer.address);
      if (!peer.local && peer.address.empty()) {
        return InvalidArgument("cannot reach rank %d of epoch %d: it has no transport address", local.size() - 1,
                               epoch);
      }
      remote = remote || !peer.local;
    }
    std::unique_ptr<UcxEpoch> ucx;
    if (remote) {
      ALPA_ASSIGN_OR_RETURN(ucx, UcxEpoch::Open(process_->context, *process_->book, options));
    }
    auto shared = std::make_shared<SharedEpoch>(process_, std::move(local), std::move(mailbox), std::move(ucx));
    std::vector<std::unique_ptr<Endpoint>> endpoints;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      if (ranks[rank].local) endpoints.push_back(std::make_unique<UcxEndpoint>(shared, static_cast<int>(rank)));
    }
    return endpoints;
  }

 private:
  const std::shared_ptr<Process> process_;   // shared with open epochs
  const Duration spin_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxOptions& options) {
  // Losing a peer is an expected event, which a Status reports. Without this setting, UCX would also print the loss to
  // stdout.
  if (std::getenv("UCX_LOG_LEVEL") == nullptr) ucs_global_opts_set_value("LOG_LEVEL", "fatal");
  ucp_config_t* config = nullptr;
  if (ucs_status_t status = ucp_config_read(nullptr, nullptr, &config); status != UCS_OK) {
    return UcxError("cannot read UCX's configuration", status);
  }
  // With this scheme, the receiver fetches the data, so no peer writes into the memory of a process whose epoch is
  // over.
  if (std::getenv("UCX_RNDV_SCHEME") == nullptr) ucp_config_modify(config, "RNDV_SCHEME", "get_zcopy");
  // Without this setting, endpoints that survive the loss of a peer do not use shared memory.
  if (std::getenv("UCX_MM_ERROR_HANDLING") == nullptr) ucp_config_modify(config, "MM_ERROR_HANDLING", "y");
  // With CMA, UCX reads another process's memory directly and treats a failed read as fatal. If the other process has
  // just been killed, this process would end, too.
  if (std::getenv("UCX_TLS") == nullptr) {
    ucp_config_modify(config, "TLS", options.ways.empty() ? "^cma" : options.ways.c_str());
  }
  // Over TCP, endpoints that survive the loss of a peer cannot place data directly into the receiver's memory. Long
  // messages therefore arrive in fragments. UCX receives each fragment into a buffer and copies it. With fragments of
  // 64 KiB, UCX's default, the system calls cost more than the copy. A fragment of half a MiB with its header, however,
  // still stays in a core's cache between receive and copy. UCX 1.13 knows this setting by the name without the
  // prefix TCP_.
  if (std::getenv("UCX_TCP_RX_SEG_SIZE") == nullptr) {
    for (const char* name : {"RX_SEG_SIZE", "TCP_RX_SEG_SIZE"}) ucp_config_modify(config, name, "528K");
  }
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED;
  params.features = UCP_FEATURE_TAG | UCP_FEATURE_WAKEUP;
  params.mt_workers_shared = 1;
  auto process = std::make_shared<Process>();
  const ucs_status_t status = ucp_init(&params, config, &process->context->handle);
  ucp_config_release(config);
  if (status != UCS_OK) {
    process->context->handle = nullptr;
    return UcxError("cannot start UCX", status);
  }
  ALPA_ASSIGN_OR_RETURN(process->book, AddressBook::Listen(options.listen_host, options.advertise_host));
  return std::make_unique<UcxTransport>(std::move(process), options.spin);
}

}  // namespace alpa::comm
