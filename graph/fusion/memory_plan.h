// Places blocks that live for known spans of a program into one arena.
//
// Problem:  dynamic storage allocation with known lifetimes (NP-hard); greedy by decreasing size, each block into the
//           smallest gap left by the blocks that live at the same time. Quadratic in the number of blocks that overlap in
//           time; past kMaxBySize blocks they are placed in order of time with a best-fit free list instead.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"

namespace alpa::fusion {

inline constexpr Bytes kAlignment = 64;
inline constexpr size_t kMaxBySize = 20'000;

struct Block {
  Bytes size = 0;
  int first = 0, last = 0;  // lives from the start of step `first` to the end of step `last`
};

struct MemoryPlan {
  std::vector<Bytes> offsets;  // by block; multiples of kAlignment
  Bytes total = 0;
};

// No two blocks whose spans meet overlap.
MemoryPlan PlanMemory(const std::vector<Block>& blocks);

}  // namespace alpa::fusion
