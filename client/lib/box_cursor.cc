#include "client/lib/box_cursor.h"

#include <algorithm>
#include <cstring>

namespace alpa::client {

BoxCursor::BoxCursor(const std::vector<int64_t>& dims, const plan::Region& box, Bytes element_size)
    : walk_(box, box, std::vector<int64_t>(dims.size(), 0), dims, element_size),
      remaining_(box.elements() * element_size) {}

template <typename Move>
void BoxCursor::Advance(Bytes size, Move move) {
  walk_.ForEach(at_, at_ + size,
                [&](const plan::ByteRun& run) { move(run.tile_offset, run.stream_offset - at_, run.size); });
  at_ += size;
  remaining_ -= size;
}

void BoxCursor::CopyOut(const uint8_t* array, uint8_t* to, Bytes size) {
  Advance(size, [&](Bytes in_array, Bytes at, Bytes n) { std::memcpy(to + at, array + in_array, n); });
}

void BoxCursor::CopyIn(uint8_t* array, const uint8_t* from, Bytes size) {
  Advance(size, [&](Bytes in_array, Bytes at, Bytes n) { std::memcpy(array + in_array, from + at, n); });
}

std::vector<plan::Region> CutBox(const plan::Region& box, Bytes element_size, Bytes piece) {
  const Bytes size = box.elements() * element_size;
  size_t dim = 0;
  while (dim < box.size.size() && box.size[dim] <= 1) ++dim;
  if (size <= piece || dim == box.size.size()) return {box};
  const int64_t length = box.size[dim];
  const int64_t count = std::min(length, (size + piece - 1) / piece);
  std::vector<plan::Region> pieces;
  for (int64_t i = 0; i < count; ++i) {
    // Divides before it multiplies, so that the product cannot overflow.
    const int64_t first = length / count * i + std::min(i, length % count);
    const int64_t last = length / count * (i + 1) + std::min(i + 1, length % count);
    plan::Region part = box;
    part.start[dim] += first;
    part.size[dim] = last - first;
    pieces.push_back(std::move(part));
  }
  return pieces;
}

}  // namespace alpa::client
