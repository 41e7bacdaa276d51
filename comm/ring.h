// The ring algorithms for large arrays, cut into chunks so that transfer, reduction and forwarding overlap.
//
// Model: n ranks, n blocks. In steps 0 .. n-2 (reduce) rank r receives from r-1 its partial sum of block r - step - 1, adds its own,
//        and passes it on in the next step; then r holds the whole sum of block r+1. In steps n-1 .. 2n-3 (gather) the same
//        blocks go round once more, finished. A run may be of the first half, the second, or both.
// Cost:  each half sends and receives (n-1)/n of the array, in n-1 steps.
// Order: block b is summed from rank b upward around the ring: an order that depends on sizes and ranks alone.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "comm/exchange.h"
#include "comm/scratch.h"
#include "graph/graph.h"

namespace alpa::comm {

// `elements` of `element_bytes`, cut into `n` blocks as equal as can be, each of them into the same number of chunks.
class Blocks {
 public:
  Blocks(size_t elements, size_t element_bytes, int n);
  struct Range {
    size_t begin, size;   // bytes
  };
  Range block(int b) const;                // in the array
  Range chunk(int b, size_t c) const;      // in the block
  size_t chunks() const { return chunks_; }
  size_t max_chunk_bytes() const;

 private:
  size_t elements_, element_bytes_, n_, chunks_;
};

struct RingRun {
  const Blocks* blocks;
  bool reduce, gather;
  // The block that the model above calls b is block b + shift of the array.
  int shift = 0;
  graph::DType dtype = graph::DType::kU8;
  graph::ReduceKind kind = graph::ReduceKind::kSum;
  // Memory of a block of the array: this rank's own addend, and where its sum (partial, then finished) goes. They may be one.
  std::function<const std::byte*(int block)> own;
  std::function<std::byte*(int block)> sum;
};

// Starts and waits for the messages of the run. On failure `sum` holds anything. REQUIRES: two ranks or more.
absl::Status RunRing(Exchange& exchange, const RingRun& run, Scratch& scratch);

}  // namespace alpa::comm
