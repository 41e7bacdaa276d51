#include "client/lib/box_cursor.h"

#include <algorithm>
#include <cstring>

namespace alpa::client {

BoxCursor::BoxCursor(const std::vector<int64_t>& dims, const plan::Region& box, Bytes element_size) {
  int inner = static_cast<int>(dims.size());  // dimensions from here on are part of a run
  Bytes stride = element_size;                // of dimension inner - 1
  run_ = element_size;
  std::vector<Bytes> strides(dims.size());
  for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
    strides[d] = stride;
    run_begin_ += box.start[d] * stride;
    stride *= dims[d];
  }
  // Full dimensions and the one left of them are contiguous.
  while (inner > 0) {
    --inner;
    run_ *= box.size[inner];
    if (box.size[inner] != dims[inner]) break;
  }
  remaining_ = run_;
  for (int d = 0; d < inner; ++d) {
    counts_.push_back(box.size[d]);
    strides_.push_back(strides[d]);
    remaining_ *= box.size[d];
  }
  position_.assign(counts_.size(), 0);
}

template <typename Move>
void BoxCursor::Advance(Bytes size, Move move) {
  remaining_ -= size;
  while (size > 0) {
    const Bytes now = std::min(size, run_ - run_done_);
    move(run_begin_ + run_done_, now);
    size -= now;
    run_done_ += now;
    if (run_done_ < run_) return;
    run_done_ = 0;
    for (int d = static_cast<int>(counts_.size()) - 1; d >= 0; --d) {
      run_begin_ += strides_[d];
      if (++position_[d] < counts_[d]) break;
      run_begin_ -= counts_[d] * strides_[d];
      position_[d] = 0;
    }
  }
}

void BoxCursor::CopyOut(const uint8_t* array, uint8_t* to, Bytes size) {
  Advance(size, [&](Bytes offset, Bytes n) {
    std::memcpy(to, array + offset, n);
    to += n;
  });
}

void BoxCursor::CopyIn(uint8_t* array, const uint8_t* from, Bytes size) {
  Advance(size, [&](Bytes offset, Bytes n) {
    std::memcpy(array + offset, from, n);
    from += n;
  });
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
    // length * i cannot overflow: count is at most bytes / piece + 1.
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
