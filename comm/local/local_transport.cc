#include "comm/local/local_transport.h"

#include "base/status.h"
#include "comm/local/mailbox.h"

namespace alpa::comm {
namespace {

class LocalEndpoint : public Endpoint {
 public:
  LocalEndpoint(std::shared_ptr<Mailbox> mailbox, int rank, int size)
      : mailbox_(std::move(mailbox)), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::unique_ptr<Request> Send(int peer, uint32_t tag, std::span<const std::byte> data) override {
    if (peer < 0 || peer >= size_) return MakeFailedRequest(NoSuchRank(peer));
    return mailbox_->Send(rank_, peer, tag, data);
  }
  std::unique_ptr<Request> Recv(int peer, uint32_t tag, std::span<std::byte> data) override {
    if (peer < 0 || peer >= size_) return MakeFailedRequest(NoSuchRank(peer));
    return mailbox_->Recv(peer, rank_, tag, data);
  }
  void Abort(const absl::Status& cause) override { mailbox_->Abort(cause); }

 private:
  absl::Status NoSuchRank(int peer) const {
    return InvalidArgument("cannot exchange a message with rank %d: the epoch has %d ranks", peer, size_);
  }

  const std::shared_ptr<Mailbox> mailbox_;   // shared by the ranks of the epoch
  const int rank_, size_;
};

class LocalTransport : public Transport {
 public:
  std::string address() const override { return "local"; }
  absl::StatusOr<std::vector<std::unique_ptr<Endpoint>>> Open(uint64_t epoch, const std::vector<Peer>& ranks) override {
    for (const Peer& peer : ranks) {
      if (!peer.local) {
        return FailedPrecondition("epoch %d spans several processes, but the local transport reaches only this one",
                                  epoch);
      }
    }
    return MakeLocalEndpoints(static_cast<int>(ranks.size()));
  }
};

}  // namespace

std::unique_ptr<Transport> MakeLocalTransport() { return std::make_unique<LocalTransport>(); }

std::vector<std::unique_ptr<Endpoint>> MakeLocalEndpoints(int n) {
  auto mailbox = std::make_shared<Mailbox>();
  std::vector<std::unique_ptr<Endpoint>> endpoints;
  for (int rank = 0; rank < n; ++rank) endpoints.push_back(std::make_unique<LocalEndpoint>(mailbox, rank, n));
  return endpoints;
}

}  // namespace alpa::comm
