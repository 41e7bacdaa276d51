#include "comm/ring.h"

#include <algorithm>
#include <vector>

#include "base/status.h"
#include "comm/reduce.h"

namespace alpa::comm {
namespace {

// The largest chunk, in bytes. A received chunk of this size is still in a core's cache when the ring adds it. Copying
// the chunk takes far longer than the rendezvous handshake of its message, so the handshake's cost is small.
constexpr size_t kChunkBytes = 512 << 10;
// The number of receives that are open at a time during the reduce half. If a run consists of only the gather half, it
// keeps twice this number open.
constexpr size_t kSlots = 4;
constexpr size_t kNone = static_cast<size_t>(-1);

class Ring {
 public:
  Ring(Exchange& exchange, const RingRun& run, Scratch& scratch)
      : exchange_(exchange), run_(run), chunks_(run.blocks->chunks()), half_(static_cast<size_t>(exchange.size() - 1)),
        first_(run.reduce ? 0 : half_ * chunks_), last_((run.gather ? 2 * half_ : half_) * chunks_),
        // A receive of the gather half overwrites memory that a send of the reduce half reads. That send is
        // half_ * chunks_ places earlier. The window is small enough that this send has started before the receive is
        // opened.
        window_(std::min({run.reduce ? kSlots : 2 * kSlots, half_ * chunks_, last_ - first_})),
        slot_bytes_(run.blocks->max_chunk_bytes()), sends_(last_ + chunks_, kNone), receives_(last_, kNone) {
    if (run.reduce) slots_ = scratch.Get(window_ * slot_bytes_);
  }

  absl::Status Run() {
    for (size_t place = first_; place < first_ + window_; ++place) ALPA_RETURN_IF_ERROR(StartReceive(place));
    for (size_t place = first_; place < first_ + chunks_; ++place) StartSend(place);
    for (size_t place = first_; place < last_; ++place) {
      if (receives_[place] != kNone) {
        ALPA_RETURN_IF_ERROR(exchange_.Wait(receives_[place]));
        if (IsReduce(place)) Add(place);
      }
      // The next step forwards the chunk that arrived at this place.
      if (place + chunks_ < last_) StartSend(place + chunks_);
      if (place + window_ < last_) ALPA_RETURN_IF_ERROR(StartReceive(place + window_));
    }
    return absl::OkStatus();
  }

 private:
  // A place is the number of a chunk of a step: step * chunks_ + chunk. Every rank starts its sends and receives in
  // order of place.
  bool IsReduce(size_t place) const { return place < half_ * chunks_; }
  int SentBlock(size_t place) const {
    return exchange_.Wrap(exchange_.rank() - static_cast<int>(place / chunks_) + run_.shift);
  }
  int ReceivedBlock(size_t place) const { return exchange_.Wrap(SentBlock(place) - 1); }
  std::span<std::byte> Slot(size_t place, size_t size) const {
    return slots_.subspan((place % window_) * slot_bytes_, size);
  }

  void StartSend(size_t place) {
    const int block = SentBlock(place);
    const Blocks::Range chunk = run_.blocks->chunk(block, place % chunks_);
    if (chunk.size == 0) return;
    const bool own = run_.reduce && place < chunks_;   // the first step sends the rank's own term
    const std::byte* from = own ? run_.own(block) : run_.sum(block);
    sends_[place] = exchange_.Send(exchange_.Wrap(exchange_.rank() + 1), {from + chunk.begin, chunk.size});
  }

  absl::Status StartReceive(size_t place) {
    const int block = ReceivedBlock(place), previous = exchange_.Wrap(exchange_.rank() - 1);
    const Blocks::Range chunk = run_.blocks->chunk(block, place % chunks_);
    if (chunk.size == 0) return absl::OkStatus();
    if (IsReduce(place)) {
      receives_[place] = exchange_.Recv(previous, Slot(place, chunk.size));
      return absl::OkStatus();
    }
    const size_t reader = place - half_ * chunks_;
    if (run_.reduce && sends_[reader] != kNone) ALPA_RETURN_IF_ERROR(exchange_.Wait(sends_[reader]));
    receives_[place] = exchange_.Recv(previous, {run_.sum(block) + chunk.begin, chunk.size});
    return absl::OkStatus();
  }

  void Add(size_t place) {
    const int block = ReceivedBlock(place);
    const Blocks::Range chunk = run_.blocks->chunk(block, place % chunks_);
    Reduce({run_.sum(block) + chunk.begin, chunk.size}, {run_.own(block) + chunk.begin, chunk.size},
           Slot(place, chunk.size), run_.dtype, run_.kind);
  }

  Exchange& exchange_;
  const RingRun& run_;
  const size_t chunks_, half_, first_, last_, window_, slot_bytes_;
  std::vector<size_t> sends_, receives_;   // one entry per place: the number of the request in the exchange
  std::span<std::byte> slots_;
};

}  // namespace

Blocks::Blocks(size_t elements, size_t element_bytes, int n)
    : elements_(elements), element_bytes_(element_bytes), n_(static_cast<size_t>(n)) {
  const size_t bytes = block(0).size;   // block 0 is a largest block
  chunks_ = std::max<size_t>(1, (bytes + kChunkBytes - 1) / kChunkBytes);
}

Blocks::Range Blocks::block(int b) const {
  const size_t at = static_cast<size_t>(b), base = elements_ / n_, rest = elements_ % n_;
  return {(at * base + std::min(at, rest)) * element_bytes_, (base + (at < rest ? 1 : 0)) * element_bytes_};
}

Blocks::Range Blocks::chunk(int b, size_t c) const {
  const size_t bytes = block(b).size, step = max_chunk_bytes();
  const size_t begin = std::min(bytes, c * step);
  return {begin, std::min(bytes - begin, step)};
}

size_t Blocks::max_chunk_bytes() const {
  const size_t elements = block(0).size / element_bytes_;
  return (elements + chunks_ - 1) / chunks_ * element_bytes_;
}

absl::Status RunRing(Exchange& exchange, const RingRun& run, Scratch& scratch) {
  return Ring(exchange, run, scratch).Run();
}

}  // namespace alpa::comm
