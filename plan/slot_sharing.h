// Which temporary slots can share a buffer: those that are never in use at one time.
#pragma once

#include <vector>

#include "base/units.h"
#include "plan/executable.h"

namespace alpa::plan {

struct SlotSharing {
  std::vector<int> buffer_of_slot;  // -1: not a temporary that is used
  std::vector<Bytes> buffer_sizes;
};

// A slot counts as in use from the first to the last top-level instruction that names it (a loop counts as one). Greedy,
// best fit by size, in order of first use: O(slots x buffers) at worst.
SlotSharing ShareSlots(const MeshProgram& program);

}  // namespace alpa::plan
