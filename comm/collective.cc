#include "comm/collective.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "comm/exchange.h"
#include "comm/reduce.h"
#include "comm/ring.h"
#include "comm/scratch.h"

namespace alpa::comm {

using graph::DType;
using graph::ReduceKind;

namespace {

// Limits for direct exchange. Each of n ranks sends n - 1 messages in one step. The ring of an all-reduce sends fewer
// bytes, but takes 2(n - 1) steps. kDirectBytesOfTwo limits an all-reduce of two ranks. kDirectBytes limits the other
// calls, but two ranks always gather directly. Both limits count the bytes of the array or, for an all-gather, the
// bytes of one rank's block. They were measured between two processes on one host. UCX sends messages below 8 KiB
// without a handshake. kDirectRanks limits the number of ranks.
constexpr size_t kDirectBytes = 16 << 10, kDirectBytesOfTwo = 8 << 10;
constexpr int kDirectRanks = 8;
// The largest array, in bytes, that an all-reduce of more than kDirectRanks ranks sums along a tree.
constexpr size_t kTreeBytes = 32 << 10;
// If a group has three or more ranks, a broadcast of more than kChainBytes bytes passes chunks of kChainChunkBytes
// bytes along a chain. All other broadcasts use a tree.
constexpr size_t kChainBytes = 512 << 10;
constexpr size_t kChainChunkBytes = 256 << 10;

class EndpointGroup : public kernels::CollectiveGroup {
 public:
  EndpointGroup(Endpoint& endpoint, std::vector<int> members, int rank, uint32_t channel)
      : endpoint_(endpoint), members_(std::move(members)), rank_(rank), channel_(channel) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }

  absl::Status AllReduce(std::span<std::byte> data, DType dtype, ReduceKind kind) override {
    ALPA_RETURN_IF_ERROR(CheckReduction(data.size(), dtype, kind));
    if (size() == 1 || data.empty()) return absl::OkStatus();
    Exchange exchange = NextCall();
    if (IsDirect(data.size())) return DirectAllReduce(exchange, data, dtype, kind);
    if (size() > kDirectRanks && data.size() <= kTreeBytes) return TreeAllReduce(exchange, data, dtype, kind);
    return RingAllReduce(exchange, data, dtype, kind);
  }

  absl::Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) override {
    const size_t block = in.size();
    if (out.size() != block * members_.size()) return SizeError("all-gather", in.size(), out.size());
    if (block == 0) return absl::OkStatus();
    std::byte* mine = out.data() + static_cast<size_t>(rank_) * block;
    if (mine != in.data()) std::memcpy(mine, in.data(), block);
    if (size() == 1) return absl::OkStatus();
    Exchange exchange = NextCall();
    if (size() == 2 || (block <= kDirectBytes && size() <= kDirectRanks)) {
      for (int i = 1; i < size(); ++i) {
        const int from = exchange.Wrap(rank_ - i);
        exchange.Recv(from, out.subspan(static_cast<size_t>(from) * block, block));
      }
      for (int i = 1; i < size(); ++i) exchange.Send(exchange.Wrap(rank_ + i), {mine, block});
      return exchange.Finish();
    }
    const Blocks blocks(out.size(), 1, size());
    auto at = [&](int b) { return out.data() + static_cast<size_t>(b) * block; };
    ALPA_RETURN_IF_ERROR(RunRing(
        exchange, {.blocks = &blocks, .reduce = false, .gather = true, .shift = -1, .own = at, .sum = at}, scratch_));
    return exchange.Finish();
  }

  absl::Status ReduceScatter(std::span<const std::byte> in, std::span<std::byte> out, DType dtype,
                             ReduceKind kind) override {
    if (in.size() != out.size() * members_.size()) return SizeError("reduce-scatter", in.size(), out.size());
    ALPA_RETURN_IF_ERROR(CheckReduction(out.size(), dtype, kind));
    if (out.empty()) return absl::OkStatus();
    if (size() == 1) {
      std::memmove(out.data(), in.data(), in.size());
      return absl::OkStatus();
    }
    Exchange exchange = NextCall();
    if (in.size() <= kDirectBytes && size() <= kDirectRanks) return DirectReduceScatter(exchange, in, out, dtype, kind);
    if (IsHalf(dtype) && size() > 2) {
      const std::span<std::byte> wide = wide_.Get(in.size() * 2);
      const std::span<std::byte> sum = wide.subspan(static_cast<size_t>(rank_) * out.size() * 2, out.size() * 2);
      Widen(in, wide, dtype);
      ALPA_RETURN_IF_ERROR(RingReduceScatter(exchange, wide, sum, DType::kF32, kind));
      Narrow(sum, out, dtype);
      return absl::OkStatus();
    }
    return RingReduceScatter(exchange, in, out, dtype, kind);
  }

  absl::Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) override {
    if (in.size() != out.size() || in.size() % members_.size() != 0) {
      return SizeError("all-to-all", in.size(), out.size());
    }
    const size_t block = in.size() / members_.size();
    if (block == 0) return absl::OkStatus();
    auto at = [&](int b) { return static_cast<size_t>(b) * block; };
    Exchange exchange = NextCall();
    for (int step = 1; step < size(); ++step) {
      const int to = exchange.Wrap(rank_ + step), from = exchange.Wrap(rank_ - step);
      exchange.Recv(from, out.subspan(at(from), block));
      exchange.Send(to, in.subspan(at(to), block));
    }
    std::memcpy(out.data() + at(rank_), in.data() + at(rank_), block);
    return exchange.Finish();
  }

  absl::Status Permute(std::span<const std::byte> in, std::span<std::byte> out,
                       std::span<const int64_t> permutation) override {
    if (in.size() != out.size() || permutation.size() != members_.size()) {
      return SizeError("permute", in.size(), out.size());
    }
    ALPA_RETURN_IF_ERROR(CheckPermutation(permutation));
    if (in.empty()) return absl::OkStatus();
    Exchange exchange = NextCall();
    bool received = false;
    for (int from = 0; from < size(); ++from) {
      if (permutation[from] != rank_) continue;
      received = true;
      if (from == rank_) std::memmove(out.data(), in.data(), in.size());
      else exchange.Recv(from, out);
    }
    const int64_t to = permutation[rank_];
    if (to >= 0 && to != rank_) exchange.Send(static_cast<int>(to), in);
    if (!received) std::memset(out.data(), 0, out.size());
    return exchange.Finish();
  }

  absl::Status Broadcast(std::span<std::byte> data, int root) override {
    if (root < 0 || root >= size()) {
      return InvalidArgument("cannot broadcast from rank %d: the group has %d ranks", root, size());
    }
    if (size() == 1 || data.empty()) return absl::OkStatus();
    Exchange exchange = NextCall();
    if (size() > 2 && data.size() > kChainBytes) return ChainBroadcast(exchange, data, root);
    return TreeBroadcast(exchange, data, root);
  }

  absl::Status Barrier() override {
    // A dissemination barrier: after round i, each rank knows that 2^(i+1) ranks have arrived.
    const std::byte out{1};
    std::byte in{};
    Exchange exchange = NextCall();
    for (int distance = 1; distance < size(); distance <<= 1) {
      const size_t receive = exchange.Recv(exchange.Wrap(rank_ - distance), {&in, 1});
      exchange.Send(exchange.Wrap(rank_ + distance), {&out, 1});
      ALPA_RETURN_IF_ERROR(exchange.Wait(receive));
    }
    return exchange.Finish();
  }

  void Abort(const absl::Status& cause) override { endpoint_.Abort(cause); }

 private:
  // Starts the exchange of the next call. The tag consists of the channel (10 bits) and the call's number (22 bits,
  // wrapping).
  Exchange NextCall() {
    call_ = (call_ + 1) & 0x3fffff;
    return Exchange(endpoint_, members_, rank_, (channel_ << 22) | call_);
  }
  static absl::Status SizeError(const char* what, size_t in, size_t out) {
    return InvalidArgument("cannot run %s of %d bytes into %d bytes: the sizes do not fit the group", what, in, out);
  }
  absl::Status CheckPermutation(std::span<const int64_t> permutation) const {
    std::vector<bool> taken(members_.size());
    for (int64_t to : permutation) {
      if (to < -1 || to >= size()) {
        return InvalidArgument("cannot permute to rank %d: the group has %d ranks", to, size());
      }
      if (to < 0) continue;
      if (taken[to]) return InvalidArgument("cannot permute: two ranks send to rank %d", to);
      taken[to] = true;
    }
    return absl::OkStatus();
  }
  bool IsDirect(size_t bytes) const {
    return size() == 2 ? bytes <= kDirectBytesOfTwo : size() <= kDirectRanks && bytes <= kDirectBytes;
  }

  // Reduces `terms` (one per rank) into `out`, in rank order. 16-bit floats accumulate in f32 and are rounded once.
  void Sum(std::span<std::byte> out, std::span<const std::span<const std::byte>> terms, DType dtype, ReduceKind kind) {
    if (!IsHalf(dtype) || terms.size() == 2) {
      Reduce(out, terms[0], terms[1], dtype, kind);
      for (size_t i = 2; i < terms.size(); ++i) Reduce(out, out, terms[i], dtype, kind);
      return;
    }
    const std::span<std::byte> wide = wide_.Get(out.size() * 4);
    const std::span<std::byte> sum = wide.first(out.size() * 2), term = wide.last(out.size() * 2);
    Widen(terms[0], sum, dtype);
    for (size_t i = 1; i < terms.size(); ++i) {
      Widen(terms[i], term, dtype);
      Reduce(sum, sum, term, DType::kF32, kind);
    }
    Narrow(sum, out, dtype);
  }

  absl::Status DirectAllReduce(Exchange& exchange, std::span<std::byte> data, DType dtype, ReduceKind kind) {
    const size_t bytes = data.size();
    // The scratch also holds a copy of this rank's own term, because the sum overwrites `data` before it reads all
    // terms.
    const std::span<std::byte> all = scratch_.Get(bytes * members_.size());
    std::vector<std::span<const std::byte>> terms(members_.size());
    for (int i = 0; i < size(); ++i) {
      const std::span<std::byte> term = all.subspan(static_cast<size_t>(i) * bytes, bytes);
      terms[i] = term;
      if (i != rank_) exchange.Recv(i, term);
      else std::memcpy(term.data(), data.data(), bytes);
    }
    for (int i = 1; i < size(); ++i) exchange.Send(exchange.Wrap(rank_ + i), data);
    ALPA_RETURN_IF_ERROR(exchange.Finish());
    Sum(data, terms, dtype, kind);
    return absl::OkStatus();
  }

  absl::Status DirectReduceScatter(Exchange& exchange, std::span<const std::byte> in, std::span<std::byte> out,
                                   DType dtype, ReduceKind kind) {
    const size_t bytes = out.size();
    const std::span<std::byte> all = scratch_.Get(bytes * members_.size());
    std::vector<std::span<const std::byte>> terms(members_.size());
    for (int i = 0; i < size(); ++i) {
      const std::span<std::byte> term = all.subspan(static_cast<size_t>(i) * bytes, bytes);
      terms[i] = term;
      if (i != rank_) exchange.Recv(i, term);
      else std::memcpy(term.data(), in.data() + static_cast<size_t>(i) * bytes, bytes);
    }
    for (int i = 1; i < size(); ++i) {
      const int to = exchange.Wrap(rank_ + i);
      exchange.Send(to, in.subspan(static_cast<size_t>(to) * bytes, bytes));
    }
    ALPA_RETURN_IF_ERROR(exchange.Finish());
    Sum(out, terms, dtype, kind);
    return absl::OkStatus();
  }

  // Sends partial sums up a binomial tree to rank 0, and the result down again.
  absl::Status TreeAllReduce(Exchange& exchange, std::span<std::byte> data, DType dtype, ReduceKind kind) {
    if (IsHalf(dtype)) {
      const std::span<std::byte> wide = wide_.Get(data.size() * 2);
      Widen(data, wide, dtype);
      ALPA_RETURN_IF_ERROR(TreeAllReduce(exchange, wide, DType::kF32, kind));
      Narrow(wide, data, dtype);
      return absl::OkStatus();
    }
    const std::span<std::byte> term = scratch_.Get(data.size());
    for (int mask = 1; mask < size(); mask <<= 1) {
      if (rank_ & mask) {
        ALPA_RETURN_IF_ERROR(exchange.Wait(exchange.Send(rank_ - mask, data)));
        break;
      }
      if (rank_ + mask >= size()) continue;
      ALPA_RETURN_IF_ERROR(exchange.Wait(exchange.Recv(rank_ + mask, term)));
      Reduce(data, data, term, dtype, kind);
    }
    return TreeBroadcast(exchange, data, 0);
  }

  absl::Status RingAllReduce(Exchange& exchange, std::span<std::byte> data, DType dtype, ReduceKind kind) {
    const size_t element = static_cast<size_t>(graph::SizeOf(dtype));
    const Blocks blocks(data.size() / element, element, size());
    auto in_data = [&](int b) { return data.data() + blocks.block(b).begin; };
    if (!IsHalf(dtype) || size() == 2) {
      ALPA_RETURN_IF_ERROR(RunRing(exchange,
                                   {.blocks = &blocks, .reduce = true, .gather = true, .dtype = dtype, .kind = kind,
                                    .own = in_data, .sum = in_data},
                                   scratch_));
      return exchange.Finish();
    }
    // Partial sums travel as f32. The rank that completes a block rounds it. The gather half then sends the rounded
    // 16-bit values.
    const std::span<std::byte> wide = wide_.Get(data.size() * 2);
    Widen(data, wide, dtype);
    const Blocks wide_blocks(data.size() / element, 2 * element, size());
    auto in_wide = [&](int b) { return wide.data() + wide_blocks.block(b).begin; };
    ALPA_RETURN_IF_ERROR(RunRing(exchange,
                                 {.blocks = &wide_blocks, .reduce = true, .gather = false, .dtype = DType::kF32,
                                  .kind = kind, .own = in_wide, .sum = in_wide},
                                 scratch_));
    const int mine = exchange.Wrap(rank_ + 1);
    const auto [begin, bytes] = blocks.block(mine);
    Narrow(wide.subspan(2 * begin, 2 * bytes), data.subspan(begin, bytes), dtype);
    ALPA_RETURN_IF_ERROR(RunRing(
        exchange, {.blocks = &blocks, .reduce = false, .gather = true, .own = in_data, .sum = in_data}, scratch_));
    return exchange.Finish();
  }

  // `out` may be the memory of this rank's block of `in`.
  absl::Status RingReduceScatter(Exchange& exchange, std::span<const std::byte> in, std::span<std::byte> out,
                                 DType dtype, ReduceKind kind) {
    const size_t element = static_cast<size_t>(graph::SizeOf(dtype));
    const Blocks blocks(in.size() / element, element, size());
    // Holds the partial sums of the n - 2 blocks that pass through this rank. Index i holds block rank - 2 - i (modulo
    // n).
    const std::span<std::byte> passing = passing_.Get(out.size() * static_cast<size_t>(size() - 2));
    auto own = [&](int b) { return in.data() + blocks.block(b).begin; };
    auto sum = [&](int b) {
      if (b == rank_) return out.data();
      return passing.data() + static_cast<size_t>(exchange.Wrap(rank_ - 2 - b)) * out.size();
    };
    ALPA_RETURN_IF_ERROR(RunRing(exchange,
                                 {.blocks = &blocks, .reduce = true, .gather = false, .shift = -1, .dtype = dtype,
                                  .kind = kind, .own = own, .sum = sum},
                                 scratch_));
    return exchange.Finish();
  }

  absl::Status TreeBroadcast(Exchange& exchange, std::span<std::byte> data, int root) {
    const int relative = exchange.Wrap(rank_ - root);
    int mask = 1;
    for (; mask < size(); mask <<= 1) {
      if (relative & mask) {
        ALPA_RETURN_IF_ERROR(exchange.Wait(exchange.Recv(exchange.Wrap(relative - mask + root), data)));
        break;
      }
    }
    for (mask >>= 1; mask > 0; mask >>= 1) {
      if (relative + mask < size()) exchange.Send(exchange.Wrap(relative + mask + root), data);
    }
    return exchange.Finish();
  }

  absl::Status ChainBroadcast(Exchange& exchange, std::span<std::byte> data, int root) {
    const int relative = exchange.Wrap(rank_ - root);
    const size_t chunks = (data.size() + kChainChunkBytes - 1) / kChainChunkBytes;
    auto chunk = [&](size_t c) {
      const size_t begin = c * kChainChunkBytes;
      return data.subspan(begin, std::min(kChainChunkBytes, data.size() - begin));
    };
    std::vector<size_t> receives;
    if (relative > 0) {
      for (size_t c = 0; c < chunks; ++c) receives.push_back(exchange.Recv(exchange.Wrap(rank_ - 1), chunk(c)));
    }
    for (size_t c = 0; c < chunks; ++c) {
      if (relative > 0) ALPA_RETURN_IF_ERROR(exchange.Wait(receives[c]));
      if (relative + 1 < size()) exchange.Send(exchange.Wrap(rank_ + 1), chunk(c));
    }
    return exchange.Finish();
  }

  Endpoint& endpoint_;
  const std::vector<int> members_;
  const int rank_;
  const uint32_t channel_;
  uint32_t call_ = 0;
  Scratch scratch_;   // received terms
  Scratch wide_;      // copies of 16-bit floats as f32
  Scratch passing_;   // partial sums of the blocks that pass through
};

}  // namespace

absl::StatusOr<std::unique_ptr<kernels::CollectiveGroup>> MakeGroup(Endpoint& endpoint, std::vector<int> members,
                                                                    uint32_t channel) {
  const auto self = std::find(members.begin(), members.end(), endpoint.rank());
  if (self == members.end()) {
    return InvalidArgument("cannot make a group without this endpoint's rank %d", endpoint.rank());
  }
  std::vector<bool> seen(static_cast<size_t>(endpoint.size()));
  for (int member : members) {
    if (member < 0 || member >= endpoint.size()) {
      return InvalidArgument("cannot make a group with member %d: the epoch has %d ranks", member, endpoint.size());
    }
    if (seen[member]) return InvalidArgument("cannot make a group: member %d is listed twice", member);
    seen[member] = true;
  }
  if (channel >= 1024) return InvalidArgument("cannot make a group on channel %d: channels are 0 to 1023", channel);
  const int rank = static_cast<int>(self - members.begin());
  return std::make_unique<EndpointGroup>(endpoint, std::move(members), rank, channel);
}

}  // namespace alpa::comm
