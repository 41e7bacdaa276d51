// The ring algorithms for large arrays. They cut the array into chunks, so that transfer, reduction and forwarding
// overlap.
//
// Model: n ranks, n blocks. A run consists of the reduce half, the gather half, or both.
//        The reduce half has the steps 0 to n-2. In each step, rank r receives rank r-1's partial sum of block
//        r - step - 1. It adds its own term and forwards the sum in the next step. At the end, rank r holds the
//        complete sum of block r+1. The gather half has the steps n-1 to 2n-3. In these steps, the complete blocks
//        travel around the ring once more.
// Cost:  in each half, every rank sends and receives (n-1)/n of the array, in n-1 steps.
// Order: block b is summed from rank b upward around the ring. This order depends only on sizes and ranks.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "comm/exchange.h"
#include "comm/scratch.h"
#include "graph/graph.h"

namespace alpa::comm {

// Cuts `elements` of `element_bytes` each into `n` blocks whose sizes differ by at most one element. Every block is cut
// into the same number of chunks.
class Blocks {
 public:
  Blocks(size_t elements, size_t element_bytes, int n);
  struct Range {
    size_t begin, size;   // bytes
  };
  Range block(int b) const;                // counted from the start of the array
  Range chunk(int b, size_t c) const;      // counted from the start of block b
  size_t chunks() const { return chunks_; }
  size_t max_chunk_bytes() const;

 private:
  size_t elements_, element_bytes_, n_, chunks_;
};

struct RingRun {
  const Blocks* blocks;
  bool reduce, gather;
  // The array's block b + shift takes the role of block b in the model above.
  int shift = 0;
  graph::DType dtype = graph::DType::kU8;
  graph::ReduceKind kind = graph::ReduceKind::kSum;
  // `own` returns the address of this rank's term of a block. `sum` returns the address of the memory for the block's
  // partial sum, and later its complete sum. Both may return the same address.
  std::function<const std::byte*(int block)> own;
  std::function<std::byte*(int block)> sum;
};

// Runs the ring: starts all messages, and waits for the receives. Exchange::Finish waits for the last sends. After a
// failure, the contents of `sum` are undefined. REQUIRES: two ranks or more.
absl::Status RunRing(Exchange& exchange, const RingRun& run, Scratch& scratch);

}  // namespace alpa::comm
