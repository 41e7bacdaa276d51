// Boxes of an array (Region): intersection, subtraction, and a walk over the bytes of a box in two row-major layouts.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/sharding.h"

namespace alpa::plan {

// Returns the intersection, or nothing if it is empty. The box of a scalar (rank 0) is never empty.
// REQUIRES: equal ranks.
std::optional<Region> Intersect(const Region& a, const Region& b);
// Returns disjoint boxes that cover the part of `a` outside `b`. REQUIRES: equal ranks.
std::vector<Region> Subtract(const Region& a, const Region& b);
// Subtracts `b` from each of a set of disjoint boxes.
std::vector<Region> Subtract(const std::vector<Region>& boxes, const Region& b);
bool Empty(const Region& region);
std::string ToString(const Region& region);  // "[0:4, 2:6]"; "scalar" for rank 0

// A run of bytes that is contiguous both in a stream and in the buffer of a tile.
struct ByteRun {
  int64_t stream_offset = 0;  // in bytes; the stream holds the elements of a region in row-major order
  int64_t tile_offset = 0;    // in bytes, in the buffer of the tile
  int64_t size = 0;           // in bytes
};

// Walks a box that lies both in a stream and in the buffer of a tile. All boxes use the coordinates of one leaf.
class BoxWalk {
 public:
  // `stream` is the region that the stream holds. The tile begins at `tile_start`. Its buffer has shape `tile_dims`,
  // which may reach past the end of a short tile. REQUIRES: `box` is not empty and lies inside both the stream's region
  // and the tile.
  BoxWalk(const Region& box, const Region& stream, const std::vector<int64_t>& tile_start,
          const std::vector<int64_t>& tile_dims, int64_t element_bytes);

  // Calls visit(ByteRun) for each run of the box between bytes `begin` and `end` of the stream, in order of increasing
  // offset.
  // Cost: O(log rows) to find the first run, then amortised O(1) per run.
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
  int64_t FirstRow(int64_t begin) const;  // the first row that ends after byte `begin` of the stream

  struct Dim {
    int64_t size = 1, stream_stride = 0, tile_stride = 0;  // strides in bytes
  };
  std::vector<Dim> outer_;  // the dimensions that are not merged into a row, outermost first
  int64_t stream_base_ = 0, tile_base_ = 0;
  int64_t rows_ = 1, row_bytes_ = 0;
};

}  // namespace alpa::plan
