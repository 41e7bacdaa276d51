// Wraps an endpoint and counts the bytes that are sent through it.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "comm/transport.h"

namespace alpa::comm {

class CountingEndpoint : public Endpoint {
 public:
  explicit CountingEndpoint(std::unique_ptr<Endpoint> endpoint) : endpoint_(std::move(endpoint)) {}

  // Returns the number of payload bytes in all sends so far.
  int64_t sent_bytes() const { return sent_; }

  int rank() const override { return endpoint_->rank(); }
  int size() const override { return endpoint_->size(); }
  std::unique_ptr<Request> Send(int peer, uint32_t tag, std::span<const std::byte> data) override {
    sent_ += static_cast<int64_t>(data.size());
    return endpoint_->Send(peer, tag, data);
  }
  std::unique_ptr<Request> Recv(int peer, uint32_t tag, std::span<std::byte> data) override {
    return endpoint_->Recv(peer, tag, data);
  }
  void Abort(const absl::Status& cause) override { endpoint_->Abort(cause); }

 private:
  const std::unique_ptr<Endpoint> endpoint_;
  std::atomic<int64_t> sent_ = 0;
};

}  // namespace alpa::comm
