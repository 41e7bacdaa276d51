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

// What all epochs of a transport share, and keep alive.
struct Process {
  std::shared_ptr<UcxContext> context = std::make_shared<UcxContext>();
  std::unique_ptr<AddressBook> book;
};

// What the local ranks of an epoch share.
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
  const std::shared_ptr<Process> process_;   // ucx_ uses its context and book
  const std::vector<bool> local_;            // by rank
  const std::unique_ptr<Mailbox> mailbox_;   // ucx_ aborts it when told to
  const std::unique_ptr<UcxEpoch> ucx_;      // null where all ranks are local
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
  absl::Status NoSuchRank(int peer) const { return InvalidArgument("message with rank %d of %d", peer, size()); }

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
                              .on_told = [raw = mailbox.get()](const absl::Status& cause) { raw->Abort(cause); }};
    std::vector<bool> local;
    bool remote = false;
    for (const Peer& peer : ranks) {
      local.push_back(peer.local);
      options.addresses.push_back(peer.local ? "" : peer.address);
      if (!peer.local && peer.address.empty()) {
        return InvalidArgument("rank %d of epoch %d has no transport address", local.size() - 1, epoch);
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
  const std::shared_ptr<Process> process_;   // also held by every open epoch
  const Duration spin_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxOptions& options) {
  // Losing a peer is in the ordinary run of things here, and told by Status; UCX would report it on stdout.
  if (std::getenv("UCX_LOG_LEVEL") == nullptr) ucs_global_opts_set_value("LOG_LEVEL", "fatal");
  ucp_config_t* config = nullptr;
  if (ucs_status_t status = ucp_config_read(nullptr, nullptr, &config); status != UCS_OK) {
    return UcxError("cannot read UCX's configuration", status);
  }
  // The receiver fetches: nobody writes into the memory of a process whose epoch is over.
  if (std::getenv("UCX_RNDV_SCHEME") == nullptr) ucp_config_modify(config, "RNDV_SCHEME", "get_zcopy");
  // Without this, endpoints that survive the loss of a peer do without shared memory.
  if (std::getenv("UCX_MM_ERROR_HANDLING") == nullptr) ucp_config_modify(config, "MM_ERROR_HANDLING", "y");
  // Reading another process's memory (CMA) ends this process where that one has just been killed: UCX takes it as fatal.
  if (std::getenv("UCX_TLS") == nullptr) {
    ucp_config_modify(config, "TLS", options.ways.empty() ? "^cma" : options.ways.c_str());
  }
  // Endpoints that survive the loss of a peer have no direct placement over TCP either, so long messages come in fragments,
  // each received into a buffer and copied. At UCX's own 64 KiB the calls of the kernel cost more than the copy; half a MiB
  // and its header still stay in a core's cache between the two. UCX 1.13 knows the setting without its transport's name.
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
