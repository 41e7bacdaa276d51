#include "comm/ucx/ucx_transport.h"

#include "base/status.h"
#include "comm/local/mailbox.h"
#include "comm/ucx/address_book.h"
#include "comm/ucx/ucx_epoch.h"

namespace alpa::comm {
namespace {

// What the local ranks of an epoch share.
struct SharedEpoch {
  std::vector<Transport::Peer> ranks;
  Mailbox mailbox;
  std::shared_ptr<UcxEpoch> ucx;   // null where all ranks are local
  AddressBook* book = nullptr;
  uint64_t epoch = 0;
  ~SharedEpoch() {
    if (ucx != nullptr) book->Withdraw(epoch);
  }
  void Abort(const absl::Status& cause) {
    mailbox.Abort(cause);
    if (ucx != nullptr) ucx->Abort(cause);
  }
};

class UcxEndpoint : public Endpoint {
 public:
  UcxEndpoint(std::shared_ptr<SharedEpoch> epoch, int rank) : epoch_(std::move(epoch)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(epoch_->ranks.size()); }
  std::unique_ptr<Request> Send(int peer, uint32_t tag, std::span<const std::byte> data) override {
    if (epoch_->ranks[peer].local) return epoch_->mailbox.Send(rank_, peer, tag, data);
    return epoch_->ucx->Send(rank_, peer, epoch_->ranks[peer].address, tag, data);
  }
  std::unique_ptr<Request> Recv(int peer, uint32_t tag, std::span<std::byte> data) override {
    if (epoch_->ranks[peer].local) return epoch_->mailbox.Recv(peer, rank_, tag, data);
    return epoch_->ucx->Recv(peer, rank_, tag, data);
  }
  void Abort(const absl::Status& cause) override { epoch_->Abort(cause); }

 private:
  const std::shared_ptr<SharedEpoch> epoch_;   // lives as long as any of its endpoints
  const int rank_;
};

class UcxTransport : public Transport {
 public:
  UcxTransport(ucp_context_h context, std::unique_ptr<AddressBook> book) : context_(context), book_(std::move(book)) {}
  ~UcxTransport() override { ucp_cleanup(context_); }

  std::string address() const override { return book_->address(); }

  absl::StatusOr<std::vector<std::unique_ptr<Endpoint>>> Open(uint64_t epoch, const std::vector<Peer>& ranks) override {
    if (ranks.size() >= 65536) return InvalidArgument("an epoch of %d ranks; tags have room for 65535", ranks.size());
    auto shared = std::make_shared<SharedEpoch>();
    shared->ranks = ranks;
    shared->epoch = epoch;
    shared->book = book_.get();
    bool remote = false;
    for (const Peer& peer : ranks) remote = remote || !peer.local;
    if (remote) {
      ALPA_ASSIGN_OR_RETURN(shared->ucx, UcxEpoch::Open(context_, epoch));
      book_->Publish(epoch, shared->ucx->address());
    }
    std::vector<std::unique_ptr<Endpoint>> endpoints;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      if (ranks[rank].local) endpoints.push_back(std::make_unique<UcxEndpoint>(shared, static_cast<int>(rank)));
    }
    return endpoints;
  }

 private:
  const ucp_context_h context_;
  const std::unique_ptr<AddressBook> book_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxOptions& options) {
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED;
  params.features = UCP_FEATURE_TAG | UCP_FEATURE_WAKEUP;
  params.mt_workers_shared = 1;
  ucp_config_t* config = nullptr;
  if (ucs_status_t status = ucp_config_read(nullptr, nullptr, &config); status != UCS_OK) {
    return absl::UnavailableError(absl::StrCat("UCX configuration: ", ucs_status_string(status)));
  }
  ucp_context_h context = nullptr;
  const ucs_status_t status = ucp_init(&params, config, &context);
  ucp_config_release(config);
  if (status != UCS_OK) return absl::UnavailableError(absl::StrCat("UCX: ", ucs_status_string(status)));
  auto book = AddressBook::Listen(options.listen_host, options.advertise_host);
  if (!book.ok()) {
    ucp_cleanup(context);
    return book.status();
  }
  return std::make_unique<UcxTransport>(context, *std::move(book));
}

}  // namespace alpa::comm
