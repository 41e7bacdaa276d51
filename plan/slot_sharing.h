// Assigns buffers to temporary slots. Slots that are never in use at the same time may share a buffer.
//
// Threads: a pure function.
#pragma once

#include <vector>

#include "base/units.h"
#include "plan/executable.h"

namespace alpa::plan {

struct SlotSharing {
  std::vector<int> buffer_of_slot;  // one entry per slot; -1: not a temporary slot, or never used
  std::vector<Bytes> buffer_sizes;  // one entry per buffer
};

// A slot is in use from the first to the last top-level instruction that names it. A FREE does not count. A loop counts
// as one instruction. The assignment is greedy: in order of first use, each slot takes the smallest free buffer that is
// large enough. Cost: at worst O(slots * buffers).
SlotSharing ShareSlots(const MeshProgram& program);

}  // namespace alpa::plan
