// Copies elements between two arrays that are walked with strides of their own: what transposes, pads, slices, window
// copies and packing for products come down to.
//
// Method:   dimensions are merged where both sides allow it. Then the innermost loop is one of: runs that are dense on
//           both sides; a run filled with one element; square blocks where each side is dense along another dimension;
//           single steps.
// Threads:  a value that does not change once made. Run splits the work by sizes and thread count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cpu/thread_pool.h"

namespace alpa::kernels::cpu {

class StridedCopy {
 public:
  // Element i of `dims` goes from from_offset + i * from_strides to to_offset + i * to_strides, all in elements of
  // `element` = 1, 2, 4 or 8 bytes. No element is written twice.
  StridedCopy(const std::vector<int64_t>& dims, const std::vector<int64_t>& from_strides, int64_t from_offset,
              const std::vector<int64_t>& to_strides, int64_t to_offset, int element);

  void Run(const std::byte* from, std::byte* to, ThreadPool& pool) const;
  void RunHere(const std::byte* from, std::byte* to) const;

  // The copy is one dense run.
  bool IsRun() const { return loops_.empty() && kind_ == Kind::kRuns; }
  int64_t elements() const { return elements_; }

 private:
  enum class Kind : uint8_t { kRuns, kFills, kBlocks, kSteps };
  struct Loop {
    int64_t size = 1, from = 0, to = 0;  // strides in bytes
  };
  // Rows of the innermost loop, or of blocks of it, [begin, end).
  void RunRows(const std::byte* from, std::byte* to, int64_t begin, int64_t end) const;
  void RunRow(const std::byte* from, std::byte* to, int64_t part) const;

  std::vector<Loop> loops_;  // around the innermost
  Loop inner_;               // the last dimension of the destination
  Loop across_;              // kBlocks: the dimension along which the source is dense
  Kind kind_ = Kind::kRuns;
  int element_ = 1;
  int64_t from_offset_ = 0, to_offset_ = 0;  // bytes
  int64_t elements_ = 1;
  int64_t parts_ = 1;  // that one pass over the innermost loop (and across) is cut into
  int64_t rows_ = 1;   // passes times parts
};

// How array `dims` lies where dimension order[i] of it is the i-th, slowest first: the strides, by dimension of `dims`.
std::vector<int64_t> StridesInOrder(const std::vector<int64_t>& dims, const std::vector<int64_t>& order);

}  // namespace alpa::kernels::cpu
