#include "comm/collective.h"

#include <algorithm>
#include <cstring>
#include <deque>

#include "base/status.h"
#include "comm/reduce.h"

namespace alpa::comm {

using graph::DType;
using graph::ReduceKind;

namespace {

// Up to so many bytes, everyone sends everything to everyone: one step.
constexpr int64_t kDirectBytes = 32 << 10;
constexpr int kDirectRanks = 8;

class EndpointGroup : public kernels::CollectiveGroup {
 public:
  EndpointGroup(Endpoint& endpoint, std::vector<int> members, int rank, uint32_t channel)
      : endpoint_(endpoint), members_(std::move(members)), rank_(rank), channel_(channel) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }

  absl::Status AllReduce(std::span<std::byte> data, DType dtype, ReduceKind kind) override {
    NextCall();
    if (size() == 1 || data.empty()) return absl::OkStatus();
    if (dtype == DType::kBF16 || dtype == DType::kF16) return AllReduce16(data, dtype, kind);
    if (static_cast<int64_t>(data.size()) <= kDirectBytes && size() <= kDirectRanks) {
      return DirectAllReduce(data, dtype, kind);
    }
    return RingAllReduce(data, dtype, kind);
  }

  absl::Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override {
    NextCall();
    if (out.size() != in.size() * members_.size()) return SizeError("all-gather", in.size(), out.size());
    const size_t block = in.size();
    std::memcpy(out.data() + rank_ * block, in.data(), block);
    return RingGather(out, [&](int i) { return std::pair(i * block, block); }, 0);
  }

  absl::Status ReduceScatter(std::span<const std::byte> in, std::span<std::byte> out, DType dtype,
                             ReduceKind kind) override {
    NextCall();
    if (in.size() != out.size() * members_.size()) return SizeError("reduce-scatter", in.size(), out.size());
    if (size() == 1) {
      std::memcpy(out.data(), in.data(), in.size());
      return absl::OkStatus();
    }
    if (dtype == DType::kBF16 || dtype == DType::kF16) {
      std::vector<std::byte> wide = Widen(in, dtype), mine(out.size() * 2);
      ALPA_RETURN_IF_ERROR(ScatterInto(wide, mine, DType::kF32, kind));
      Narrow(mine, out, dtype);
      return absl::OkStatus();
    }
    std::vector<std::byte> work(in.begin(), in.end());
    return ScatterInto(work, out, dtype, kind);
  }

  absl::Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) override {
    NextCall();
    if (in.size() != out.size() || in.size() % members_.size() != 0) return SizeError("all-to-all", in.size(), out.size());
    const size_t block = in.size() / members_.size();
    std::deque<std::unique_ptr<Request>> requests;
    for (int step = 1; step < size(); ++step) {
      const int to = (rank_ + step) % size(), from = (rank_ - step + size()) % size();
      requests.push_back(Recv(from, 0, out.subspan(from * block, block)));
      requests.push_back(Send(to, 0, in.subspan(to * block, block)));
    }
    std::memcpy(out.data() + rank_ * block, in.data() + rank_ * block, block);
    return WaitAll(requests);
  }

  absl::Status Permute(std::span<const std::byte> in, std::span<std::byte> out,
                       std::span<const int64_t> permutation) override {
    NextCall();
    if (in.size() != out.size() || permutation.size() != members_.size()) {
      return SizeError("permute", in.size(), out.size());
    }
    std::deque<std::unique_ptr<Request>> requests;
    bool received = false;
    for (int from = 0; from < size(); ++from) {
      if (permutation[from] != rank_) continue;
      received = true;
      if (from == rank_) std::memmove(out.data(), in.data(), in.size());
      else requests.push_back(Recv(from, 0, out));
    }
    const int64_t to = permutation[rank_];
    if (to >= 0 && to != rank_) requests.push_back(Send(static_cast<int>(to), 0, in));
    if (!received) std::memset(out.data(), 0, out.size());
    return WaitAll(requests);
  }

  absl::Status Broadcast(std::span<std::byte> data, int root) override {
    NextCall();
    if (root < 0 || root >= size()) return InvalidArgument("broadcast from rank %d of %d", root, size());
    // A binomial tree over ranks relative to the root.
    const int relative = (rank_ - root + size()) % size();
    std::deque<std::unique_ptr<Request>> requests;
    int mask = 1;
    for (; mask < size(); mask <<= 1) {
      if (relative & mask) {
        requests.push_back(Recv((relative - mask + root) % size(), 0, data));
        ALPA_RETURN_IF_ERROR(WaitAll(requests));
        break;
      }
    }
    for (mask >>= 1; mask > 0; mask >>= 1) {
      if (relative + mask < size()) requests.push_back(Send((relative + mask + root) % size(), 0, data));
    }
    return WaitAll(requests);
  }

  absl::Status Barrier() override {
    NextCall();
    // Dissemination: after round i everyone has heard of 2^(i+1) ranks.
    uint32_t step = 0;
    std::byte out{1}, in{};
    for (int distance = 1; distance < size(); distance <<= 1, ++step) {
      std::deque<std::unique_ptr<Request>> requests;
      requests.push_back(Recv((rank_ - distance + size()) % size(), step, {&in, 1}));
      requests.push_back(Send((rank_ + distance) % size(), step, {&out, 1}));
      ALPA_RETURN_IF_ERROR(WaitAll(requests));
    }
    return absl::OkStatus();
  }

  void Abort(const absl::Status& cause) override { endpoint_.Abort(cause); }

 private:
  // Tag: channel (10 bits), call number (12 bits), step of the call (10 bits). Messages of one pair and tag arrive in
  // order, so call numbers may wrap.
  void NextCall() { call_ = (call_ + 1) & 0xfff; }
  uint32_t Tag(uint32_t step) const { return (channel_ << 22) | (call_ << 10) | (step & 0x3ff); }
  std::unique_ptr<Request> Send(int to, uint32_t step, std::span<const std::byte> data) {
    return endpoint_.Send(members_[to], Tag(step), data);
  }
  std::unique_ptr<Request> Recv(int from, uint32_t step, std::span<std::byte> data) {
    return endpoint_.Recv(members_[from], Tag(step), data);
  }
  static absl::Status WaitAll(std::deque<std::unique_ptr<Request>>& requests) {
    absl::Status first;
    for (auto& request : requests) {
      absl::Status status = request->Wait();
      if (first.ok()) first = std::move(status);
    }
    requests.clear();
    return first;
  }
  static absl::Status SizeError(const char* what, size_t in, size_t out) {
    return InvalidArgument("%s of %d bytes into %d", what, in, out);
  }

  absl::Status AllReduce16(std::span<std::byte> data, DType dtype, ReduceKind kind) {
    std::vector<std::byte> wide = Widen(data, dtype);
    const absl::Status status = static_cast<int64_t>(wide.size()) <= kDirectBytes && size() <= kDirectRanks
                                    ? DirectAllReduce(wide, DType::kF32, kind)
                                    : RingAllReduce(wide, DType::kF32, kind);
    ALPA_RETURN_IF_ERROR(status);
    Narrow(wide, data, dtype);
    return absl::OkStatus();
  }

  // Sums in the order of ranks, on every rank.
  absl::Status DirectAllReduce(std::span<std::byte> data, DType dtype, ReduceKind kind) {
    const size_t bytes = data.size();
    scratch_.resize(bytes * members_.size());
    std::deque<std::unique_ptr<Request>> requests;
    for (int i = 0; i < size(); ++i) {
      if (i != rank_) requests.push_back(Recv(i, 0, {scratch_.data() + i * bytes, bytes}));
    }
    for (int i = 0; i < size(); ++i) {
      if (i != rank_) requests.push_back(Send(i, 0, data));
    }
    std::memcpy(scratch_.data() + rank_ * bytes, data.data(), bytes);
    ALPA_RETURN_IF_ERROR(WaitAll(requests));
    std::memcpy(data.data(), scratch_.data(), bytes);
    for (int i = 1; i < size(); ++i) {
      ReduceInto(data, {scratch_.data() + i * bytes, bytes}, dtype, kind);
    }
    return absl::OkStatus();
  }

  // Block i of an array of `elements`, whole elements, sizes as equal as can be.
  std::pair<size_t, size_t> Block(size_t elements, size_t element_size, int i) const {
    const size_t n = members_.size(), base = elements / n, rest = elements % n, at = static_cast<size_t>(i);
    const size_t start = at * base + std::min(at, rest), count = base + (at < rest ? 1 : 0);
    return {start * element_size, count * element_size};
  }

  absl::Status RingAllReduce(std::span<std::byte> data, DType dtype, ReduceKind kind) {
    const size_t element = graph::SizeOf(dtype), elements = data.size() / element;
    auto block = [&](int i) { return Block(elements, element, (i + 2 * size()) % size()); };
    ALPA_RETURN_IF_ERROR(RingReduce(data, block, dtype, kind));
    // Rank r now has block r + 1 whole.
    return RingGather(data, [&](int i) { return block(i + 1); }, static_cast<uint32_t>(size()));
  }

  // n - 1 steps; afterwards block(rank + 1) of `data` is the reduction. Each block is summed along the ring, so in an order
  // that depends on its number alone.
  template <typename BlockOf>
  absl::Status RingReduce(std::span<std::byte> data, const BlockOf& block, DType dtype, ReduceKind kind) {
    const int next = (rank_ + 1) % size(), previous = (rank_ - 1 + size()) % size();
    for (int step = 0; step < size() - 1; ++step) {
      const auto [send_at, send_size] = block(rank_ - step);
      const auto [recv_at, recv_size] = block(rank_ - step - 1);
      scratch_.resize(recv_size);
      std::deque<std::unique_ptr<Request>> requests;
      requests.push_back(Recv(previous, static_cast<uint32_t>(step), scratch_));
      requests.push_back(Send(next, static_cast<uint32_t>(step), data.subspan(send_at, send_size)));
      ALPA_RETURN_IF_ERROR(WaitAll(requests));
      ReduceInto(data.subspan(recv_at, recv_size), scratch_, dtype, kind);
    }
    return absl::OkStatus();
  }

  // n - 1 steps; rank r starts with block(r) and ends with all.
  template <typename BlockOf>
  absl::Status RingGather(std::span<std::byte> data, const BlockOf& block, uint32_t first_step) {
    const int next = (rank_ + 1) % size(), previous = (rank_ - 1 + size()) % size();
    for (int step = 0; step < size() - 1; ++step) {
      const auto [send_at, send_size] = block((rank_ - step + size()) % size());
      const auto [recv_at, recv_size] = block((rank_ - step - 1 + size()) % size());
      std::deque<std::unique_ptr<Request>> requests;
      const uint32_t tag = first_step + static_cast<uint32_t>(step);
      requests.push_back(Recv(previous, tag, data.subspan(recv_at, recv_size)));
      requests.push_back(Send(next, tag, data.subspan(send_at, send_size)));
      ALPA_RETURN_IF_ERROR(WaitAll(requests));
    }
    return absl::OkStatus();
  }

  absl::Status ScatterInto(std::span<std::byte> work, std::span<std::byte> out, DType dtype, ReduceKind kind) {
    const size_t bytes = out.size();
    // Shifted by one, so that rank r ends with block r.
    auto block = [&](int i) { return std::pair(((i - 1 + 2 * size()) % size()) * bytes, bytes); };
    ALPA_RETURN_IF_ERROR(RingReduce(work, block, dtype, kind));
    std::memcpy(out.data(), work.data() + rank_ * bytes, bytes);
    return absl::OkStatus();
  }

  Endpoint& endpoint_;
  const std::vector<int> members_;
  const int rank_;
  const uint32_t channel_;
  uint32_t call_ = 0;
  std::vector<std::byte> scratch_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<kernels::CollectiveGroup>> MakeGroup(Endpoint& endpoint, std::vector<int> members,
                                                                    uint32_t channel) {
  const auto self = std::find(members.begin(), members.end(), endpoint.rank());
  if (self == members.end()) return InvalidArgument("rank %d is not among the group's members", endpoint.rank());
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i] < 0 || members[i] >= endpoint.size()) {
      return InvalidArgument("group member %d of an epoch of %d ranks", members[i], endpoint.size());
    }
    if (std::count(members.begin(), members.end(), members[i]) > 1) {
      return InvalidArgument("rank %d is twice in a group", members[i]);
    }
  }
  if (channel >= 1024) return InvalidArgument("channel %d is beyond the 1024 that tags have room for", channel);
  const int rank = static_cast<int>(self - members.begin());
  return std::make_unique<EndpointGroup>(endpoint, std::move(members), rank, channel);
}

}  // namespace alpa::comm
