#include "comm/exchange.h"

#include "base/status.h"

namespace alpa::comm {

size_t Exchange::Send(int to, std::span<const std::byte> data) {
  requests_.push_back(endpoint_.Send(members_[to], tag_, data));
  return requests_.size() - 1;
}

size_t Exchange::Recv(int from, std::span<std::byte> data) {
  requests_.push_back(endpoint_.Recv(members_[from], tag_, data));
  return requests_.size() - 1;
}

absl::Status Exchange::Wait(size_t number) {
  if (requests_[number] == nullptr) return failure_;
  const absl::Status status = requests_[number]->Wait();
  requests_[number].reset();
  if (!status.ok() && failure_.ok()) {
    failure_ = status;
    endpoint_.Abort(status);
  }
  return failure_;
}

absl::Status Exchange::Finish() {
  for (size_t i = 0; i < requests_.size(); ++i) (void)Wait(i);   // failure_ keeps the first failure
  requests_.clear();
  return failure_;
}

}  // namespace alpa::comm
