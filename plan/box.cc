#include "plan/box.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace alpa::plan {

std::optional<Region> Intersect(const Region& a, const Region& b) {
  Region both;
  for (size_t d = 0; d < a.start.size(); ++d) {
    const int64_t start = std::max(a.start[d], b.start[d]);
    const int64_t end = std::min(a.start[d] + a.size[d], b.start[d] + b.size[d]);
    if (end <= start) return std::nullopt;
    both.start.push_back(start);
    both.size.push_back(end - start);
  }
  return both;
}

std::vector<Region> Subtract(const Region& a, const Region& b) {
  const std::optional<Region> both = Intersect(a, b);
  if (!both) return Empty(a) ? std::vector<Region>() : std::vector<Region>{a};
  // In each dimension, cut off the part of `rest` before `both` and the part behind `both`. Continue with the remaining
  // `rest`.
  std::vector<Region> pieces;
  Region rest = a;
  for (size_t d = 0; d < a.start.size(); ++d) {
    if (both->start[d] > rest.start[d]) {
      Region before = rest;
      before.size[d] = both->start[d] - rest.start[d];
      pieces.push_back(std::move(before));
    }
    const int64_t end = rest.start[d] + rest.size[d], cut = both->start[d] + both->size[d];
    if (cut < end) {
      Region behind = rest;
      behind.start[d] = cut;
      behind.size[d] = end - cut;
      pieces.push_back(std::move(behind));
    }
    rest.start[d] = both->start[d];
    rest.size[d] = both->size[d];
  }
  return pieces;
}

std::vector<Region> Subtract(const std::vector<Region>& boxes, const Region& b) {
  std::vector<Region> result;
  for (const Region& box : boxes) {
    for (Region& piece : Subtract(box, b)) result.push_back(std::move(piece));
  }
  return result;
}

bool Empty(const Region& region) {
  return std::any_of(region.size.begin(), region.size.end(), [](int64_t s) { return s <= 0; });
}

std::string ToString(const Region& region) {
  if (region.start.empty()) return "scalar";
  std::string text = "[";
  for (size_t d = 0; d < region.start.size(); ++d) {
    absl::StrAppend(&text, d > 0 ? ", " : "", region.start[d], ":", region.start[d] + region.size[d]);
  }
  return text + "]";
}

BoxWalk::BoxWalk(const Region& box, const Region& stream, const std::vector<int64_t>& tile_start,
                 const std::vector<int64_t>& tile_dims, int64_t element_bytes) {
  int64_t stream_stride = element_bytes, tile_stride = element_bytes;
  row_bytes_ = element_bytes;
  bool merging = true;  // the box covers all inner dimensions of both layouts, so this dimension extends the row
  for (size_t d = box.start.size(); d-- > 0;) {
    stream_base_ += (box.start[d] - stream.start[d]) * stream_stride;
    tile_base_ += (box.start[d] - tile_start[d]) * tile_stride;
    if (merging) {
      row_bytes_ *= box.size[d];
    } else {
      outer_.push_back({box.size[d], stream_stride, tile_stride});
      rows_ *= box.size[d];
    }
    merging = merging && box.size[d] == stream.size[d] && box.size[d] == tile_dims[d];
    stream_stride *= stream.size[d];
    tile_stride *= tile_dims[d];
  }
  std::reverse(outer_.begin(), outer_.end());
}

ByteRun BoxWalk::Row(int64_t row) const {
  ByteRun run{stream_base_, tile_base_, row_bytes_};
  for (size_t d = outer_.size(); d-- > 0 && row > 0;) {
    const int64_t index = row % outer_[d].size;
    row /= outer_[d].size;
    run.stream_offset += index * outer_[d].stream_stride;
    run.tile_offset += index * outer_[d].tile_stride;
  }
  return run;
}

int64_t BoxWalk::FirstRow(int64_t begin) const {
  int64_t low = 0, high = rows_;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (Row(middle).stream_offset + row_bytes_ > begin) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace alpa::plan
