// Copies elements from one array to another. Each array has its own strides. Transposes, pads, slices, copies of
// windows, and the packing of matrix operands all use it.
//
// Method:   the constructor merges dimensions if the strides of both sides allow this. The innermost loop copies in one
//           of four ways: a run that is dense on both sides; a run that repeats one element; square blocks, if the two
//           sides are dense along different dimensions; single elements.
// Threads:  immutable once constructed. Run splits the work by sizes and thread count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cpu/thread_pool.h"

namespace alpa::kernels::cpu {

class StridedCopy {
 public:
  // For each index i of `dims`, copies the source's element at from_offset + i * from_strides to the destination's
  // element at to_offset + i * to_strides. Offsets and strides count elements of `element` bytes (1, 2, 4 or 8).
  // REQUIRES: no element is written twice.
  StridedCopy(const std::vector<int64_t>& dims, const std::vector<int64_t>& from_strides, int64_t from_offset,
              const std::vector<int64_t>& to_strides, int64_t to_offset, int element);

  // Run uses the threads of `pool`. RunHere uses only the calling thread.
  void Run(const std::byte* from, std::byte* to, ThreadPool& pool) const;
  void RunHere(const std::byte* from, std::byte* to) const;

  // Returns whether the copy is one dense run.
  bool IsRun() const { return loops_.empty() && kind_ == Kind::kRuns; }
  int64_t elements() const { return elements_; }

 private:
  enum class Kind : uint8_t { kRuns, kFills, kBlocks, kSteps };
  struct Loop {
    int64_t size = 1, from = 0, to = 0;  // from, to: strides in bytes
  };
  // Copies rows [begin, end). A row is one part of one pass over the innermost loop.
  void RunRows(const std::byte* from, std::byte* to, int64_t begin, int64_t end) const;
  void RunRow(const std::byte* from, std::byte* to, int64_t part) const;

  std::vector<Loop> loops_;  // the loops around the innermost loop
  Loop inner_;               // the last dimension of the destination
  Loop across_;              // kBlocks: the dimension along which the source is dense
  Kind kind_ = Kind::kRuns;
  int element_ = 1;
  int64_t from_offset_ = 0, to_offset_ = 0;  // bytes
  int64_t elements_ = 1;
  int64_t parts_ = 1;  // number of rows in one pass over the innermost loop (kBlocks: over inner_ and across_)
  int64_t rows_ = 1;   // number of passes over the innermost loop, times parts_
};

// Returns the strides of a dense array with dimensions `dims`, in which order[i] is the i-th slowest dimension.
std::vector<int64_t> StridesInOrder(const std::vector<int64_t>& dims, const std::vector<int64_t>& order);

}  // namespace alpa::kernels::cpu
