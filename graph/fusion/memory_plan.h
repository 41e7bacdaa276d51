// Places blocks with known lifetimes in one arena.
//
// Problem:  Dynamic storage allocation with known lifetimes, which is NP-hard.
// Method:   Greedy by decreasing size. Each block goes into the smallest sufficient gap between the placed blocks that
//           live at the same time as this block. The time is quadratic in the number of blocks. If there are more than
//           kMaxBySize blocks, they are placed in the order of their first step instead, with a best-fit free list.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"

namespace alpa::fusion {

inline constexpr Bytes kAlignment = 64;          // bytes; every offset is a multiple of this number
inline constexpr size_t kMaxBySize = 20'000;     // maximum number of blocks that are placed by size, in quadratic time

struct Block {
  Bytes size = 0;
  int first = 0, last = 0;  // the block lives from the start of step `first` to the end of step `last`
};

struct MemoryPlan {
  std::vector<Bytes> offsets;  // one entry per block; multiples of kAlignment
  Bytes total = 0;
};

// Returns a place for each block. Blocks that live in a common step do not overlap.
MemoryPlan PlanMemory(const std::vector<Block>& blocks);

}  // namespace alpa::fusion
