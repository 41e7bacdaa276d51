// Visits the bytes of a box inside a dense row-major array, in the row-major order of the box.
//
// Ownership: the array belongs to the caller and must outlive the cursor.
// Threads:   thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"
#include "plan/box.h"

namespace alpa::client {

class BoxCursor {
 public:
  // REQUIRES: the box lies inside the array, has the array's rank, and has at least one element.
  BoxCursor(const std::vector<int64_t>& dims, const plan::Region& box, Bytes element_size);

  Bytes remaining() const { return remaining_; }
  // CopyOut copies the next `size` bytes of the box from `array`. CopyIn copies them to `array`.
  // REQUIRES: size <= remaining().
  void CopyOut(const uint8_t* array, uint8_t* to, Bytes size);
  void CopyIn(uint8_t* array, const uint8_t* from, Bytes size);

 private:
  // Goes over the next `size` bytes of the box. For each range of them that is contiguous in the array, calls
  // move(offset in the array, offset among the `size` bytes, length of the range).
  template <typename Move>
  void Advance(Bytes size, Move move);

  plan::BoxWalk walk_;
  Bytes at_ = 0;  // offset of the next byte, within the box
  Bytes remaining_;
};

// Cuts a box into pieces of about `piece` bytes, along the first dimension that is longer than 1. Each piece is
// contiguous in the box.
std::vector<plan::Region> CutBox(const plan::Region& box, Bytes element_size, Bytes piece);

}  // namespace alpa::client
