// Boxes of an array (Region): intersecting, subtracting, and walking one's bytes in two row-major layouts.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/sharding.h"

namespace alpa::plan {

// What both hold, or nothing where that is empty. A scalar's box (rank 0) is never empty. REQUIRES: equal ranks.
std::optional<Region> Intersect(const Region& a, const Region& b);
// Disjoint boxes that cover `a` without `b`.
std::vector<Region> Subtract(const Region& a, const Region& b);
// The same for a set of disjoint boxes.
std::vector<Region> Subtract(const std::vector<Region>& boxes, const Region& b);
bool Empty(const Region& region);
std::string ToString(const Region& region);  // "[0:4, 2:6]"; "scalar" for rank 0

// A piece of contiguous bytes that two layouts share.
struct ByteRun {
  int64_t stream_offset = 0;  // in the stream: a region's elements in row-major order
  int64_t tile_offset = 0;    // in the tile's buffer
  int64_t size = 0;
};

// Walks a box that lies both in a stream and in a tile's buffer. All boxes are in one leaf's coordinates.
class BoxWalk {
 public:
  // `stream` is the region whose bytes are sent in row-major order. The tile begins at `tile_start` and its buffer has
  // `tile_dims` (which may reach past a short tile). REQUIRES: `box` is not empty and inside of both.
  BoxWalk(const Region& box, const Region& stream, const std::vector<int64_t>& tile_start,
          const std::vector<int64_t>& tile_dims, int64_t element_bytes);

  // Calls visit(ByteRun) for all parts of the box between the stream's bytes `begin` and `end`, by increasing offset.
  // Cost: O(log rows) to find the first, then O(1) amortised for each.
  template <typename Visit>
  void ForEach(int64_t begin, int64_t end, Visit&& visit) const {
    for (int64_t row = FirstRow(begin); row < rows_; ++row) {
      ByteRun run = Row(row);
      if (run.stream_offset >= end) return;
      const int64_t skip = begin > run.stream_offset ? begin - run.stream_offset : 0;
      const int64_t stop = end - run.stream_offset < run.size ? end - run.stream_offset : run.size;
      if (skip >= stop) continue;
      visit(ByteRun{run.stream_offset + skip, run.tile_offset + skip, stop - skip});
    }
  }

  int64_t rows() const { return rows_; }
  int64_t row_bytes() const { return row_bytes_; }

 private:
  ByteRun Row(int64_t row) const;
  int64_t FirstRow(int64_t begin) const;  // the first row that ends behind `begin`

  struct Dim {
    int64_t size = 1, stream_stride = 0, tile_stride = 0;  // strides in bytes
  };
  std::vector<Dim> outer_;  // outermost first; what is not merged into one row
  int64_t stream_base_ = 0, tile_base_ = 0;
  int64_t rows_ = 1, row_bytes_ = 0;
};

}  // namespace alpa::plan
