#include "kernels/cpu/copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace alpa::kernels::cpu {
namespace {

constexpr int64_t kBlock = 16;         // elements per side of a square block
constexpr int64_t kPart = 16 * 1024;   // maximum number of elements of the innermost loop in one row
constexpr int64_t kGrain = 16 * 1024;  // minimum number of elements per thread

// Copies the elements (i, j) with i < rows and j < columns. `to` is dense along j, and `from` is dense along i.
template <typename T>
void CopyBlock(int64_t rows, int64_t columns, const std::byte* from, int64_t from_column, std::byte* to,
               int64_t to_row) {
  if (rows == kBlock && columns == kBlock) {
    // The copy goes through a small buffer, so that the compiler sees loops of fixed length.
    alignas(64) T block[kBlock][kBlock];
    for (int64_t j = 0; j < kBlock; ++j) {
      T row[kBlock];
      std::memcpy(row, from + j * from_column, sizeof(row));
      for (int64_t i = 0; i < kBlock; ++i) block[i][j] = row[i];
    }
    for (int64_t i = 0; i < kBlock; ++i) std::memcpy(to + i * to_row, block[i], sizeof(block[i]));
    return;
  }
  for (int64_t i = 0; i < rows; ++i) {
    T* line = reinterpret_cast<T*>(to + i * to_row);
    for (int64_t j = 0; j < columns; ++j) line[j] = *reinterpret_cast<const T*>(from + j * from_column + i * sizeof(T));
  }
}

template <typename T>
void Fill(int64_t n, const std::byte* from, std::byte* to) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  std::fill_n(reinterpret_cast<T*>(to), n, value);
}

template <typename T>
void Steps(int64_t n, const std::byte* from, int64_t from_step, std::byte* to, int64_t to_step) {
  if (to_step == sizeof(T)) {
    T* line = reinterpret_cast<T*>(to);
    for (int64_t i = 0; i < n; ++i) line[i] = *reinterpret_cast<const T*>(from + i * from_step);
    return;
  }
  for (int64_t i = 0; i < n; ++i)
    *reinterpret_cast<T*>(to + i * to_step) = *reinterpret_cast<const T*>(from + i * from_step);
}

// Calls f with an unsigned integer of `element` bytes.
template <typename F>
void WithElement(int element, F&& f) {
  switch (element) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

}  // namespace

StridedCopy::StridedCopy(const std::vector<int64_t>& dims, const std::vector<int64_t>& from_strides,
                         int64_t from_offset, const std::vector<int64_t>& to_strides, int64_t to_offset, int element)
    : element_(element), from_offset_(from_offset * element), to_offset_(to_offset * element) {
  std::vector<Loop> loops;
  for (size_t d = 0; d < dims.size(); ++d) {
    elements_ *= dims[d];
    if (dims[d] != 1) loops.push_back({dims[d], from_strides[d] * element, to_strides[d] * element});
  }
  if (elements_ == 0) {
    rows_ = 0;
    return;
  }
  // Sorts the loops in the destination's order, the largest stride first. Merges neighbouring loops if each side can
  // walk both loops with one stride.
  std::stable_sort(loops.begin(), loops.end(),
                   [](const Loop& a, const Loop& b) { return std::abs(a.to) > std::abs(b.to); });
  std::vector<Loop> merged;
  for (const Loop& loop : loops) {
    if (!merged.empty() && merged.back().from == loop.from * loop.size && merged.back().to == loop.to * loop.size) {
      merged.back() = {merged.back().size * loop.size, loop.from, loop.to};
    } else {
      merged.push_back(loop);
    }
  }
  inner_ = merged.empty() ? Loop{1, element, element} : merged.back();
  if (!merged.empty()) merged.pop_back();
  kind_ = Kind::kSteps;
  parts_ = (inner_.size + kPart - 1) / kPart;
  if (inner_.to == element && inner_.from == element) {
    kind_ = Kind::kRuns;
  } else if (inner_.to == element && inner_.from == 0) {
    kind_ = Kind::kFills;
  } else if (inner_.to == element && inner_.size >= 4) {
    const auto dense =
        std::find_if(merged.begin(), merged.end(), [&](const Loop& l) { return l.from == element && l.size >= 4; });
    if (dense != merged.end()) {
      kind_ = Kind::kBlocks;
      across_ = *dense;
      merged.erase(dense);
      parts_ = (across_.size + kBlock - 1) / kBlock;
    }
  }
  loops_ = std::move(merged);
  rows_ = parts_;
  for (const Loop& loop : loops_) rows_ *= loop.size;
}

void StridedCopy::Run(const std::byte* from, std::byte* to, ThreadPool& pool) const {
  if (rows_ == 0) return;
  const int64_t row = std::max<int64_t>(1, elements_ / rows_);
  pool.For(rows_, std::max<int64_t>(1, kGrain / row),
           [&](int64_t begin, int64_t end) { RunRows(from, to, begin, end); });
}

void StridedCopy::RunHere(const std::byte* from, std::byte* to) const { RunRows(from, to, 0, rows_); }

void StridedCopy::RunRows(const std::byte* from, std::byte* to, int64_t begin, int64_t end) const {
  if (begin >= end) return;
  constexpr size_t kMaxRank = 64;  // maximum number of loops
  int64_t index[kMaxRank];
  int64_t part = begin % parts_, rest = begin / parts_;
  from += from_offset_;
  to += to_offset_;
  for (size_t d = loops_.size(); d-- > 0;) {
    index[d] = rest % loops_[d].size;
    rest /= loops_[d].size;
    from += index[d] * loops_[d].from;
    to += index[d] * loops_[d].to;
  }
  for (int64_t row = begin; row < end; ++row) {
    RunRow(from, to, part);
    if (++part < parts_) continue;
    part = 0;
    for (size_t d = loops_.size(); d-- > 0;) {
      from += loops_[d].from;
      to += loops_[d].to;
      if (++index[d] < loops_[d].size) break;
      from -= loops_[d].size * loops_[d].from;
      to -= loops_[d].size * loops_[d].to;
      index[d] = 0;
    }
  }
}

void StridedCopy::RunRow(const std::byte* from, std::byte* to, int64_t part) const {
  if (kind_ == Kind::kBlocks) {
    const int64_t i = part * kBlock, rows = std::min(kBlock, across_.size - i);
    from += i * across_.from;
    to += i * across_.to;
    WithElement(element_, [&](auto type) {
      using T = decltype(type);
      for (int64_t j = 0; j < inner_.size; j += kBlock) {
        CopyBlock<T>(rows, std::min(kBlock, inner_.size - j), from + j * inner_.from, inner_.from,
                     to + j * static_cast<int64_t>(sizeof(T)), across_.to);
      }
    });
    return;
  }
  const int64_t begin = part * kPart, n = std::min(kPart, inner_.size - begin);
  from += begin * inner_.from;
  to += begin * inner_.to;
  switch (kind_) {
    case Kind::kRuns:
      std::memcpy(to, from, static_cast<size_t>(n * element_));
      return;
    case Kind::kFills:
      return WithElement(element_, [&](auto type) { Fill<decltype(type)>(n, from, to); });
    default:
      return WithElement(element_, [&](auto type) { Steps<decltype(type)>(n, from, inner_.from, to, inner_.to); });
  }
}

std::vector<int64_t> StridesInOrder(const std::vector<int64_t>& dims, const std::vector<int64_t>& order) {
  std::vector<int64_t> strides(dims.size(), 0);
  int64_t stride = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = stride;
    stride *= dims[order[i]];
  }
  return strides;
}

}  // namespace alpa::kernels::cpu
