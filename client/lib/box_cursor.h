// Walks the bytes of a box inside a dense row-major array, in the box's own row-major order.
//
// Ownership: the array belongs to the caller and must outlive the cursor.
// Threads:   thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"
#include "plan/sharding.h"

namespace alpa::client {

class BoxCursor {
 public:
  // REQUIRES: the box lies inside the array, has its rank and at least one element.
  BoxCursor(const std::vector<int64_t>& dims, const plan::Region& box, Bytes element_size);

  Bytes remaining() const { return remaining_; }
  // Copies the next `size` bytes of the box out of, or into, `array`. REQUIRES: size <= remaining().
  void CopyOut(const uint8_t* array, uint8_t* to, Bytes size);
  void CopyIn(uint8_t* array, const uint8_t* from, Bytes size);

 private:
  // Calls move(offset in array, bytes) for runs that are contiguous in the array.
  template <typename Move>
  void Advance(Bytes size, Move move);

  std::vector<int64_t> counts_;  // of the dimensions outside a run, outermost first
  std::vector<Bytes> strides_;   // of these, in the array
  std::vector<int64_t> position_;
  Bytes run_ = 0;        // bytes contiguous in box and array
  Bytes run_begin_ = 0;  // in the array, of the present run
  Bytes run_done_ = 0;
  Bytes remaining_ = 0;
};

// The box cut along its first dimension longer than 1 into pieces of about `piece` bytes: each stays dense in the box.
std::vector<plan::Region> CutBox(const plan::Region& box, Bytes element_size, Bytes piece);

}  // namespace alpa::client
