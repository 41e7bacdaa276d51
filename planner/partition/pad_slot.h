// Stores a dimension that the axis size does not divide.
//
// Model:  The dimension is stored in n tiles of ceil(size / n), of which the last is short. The dimension is extended
//         to n full tiles, so the axis divides it. A program that reads the slot first removes the padding with a
//         slice. A program that writes the slot pads its result. If an op computes with the array, the array is
//         gathered first.
#pragma once

#include "plan/executable.h"

namespace alpa::planner {

// Extends dimension `dim` of `slot` on mesh `mesh` to `size`. Rewrites every program that reads or writes the slot: the
// program slices the array that it reads, and pads the array that it writes.
// REQUIRES: `size` is at least the current size of the dimension; only RUN instructions name the slot.
void PadSlot(plan::Executable& executable, int32_t mesh, plan::SlotId slot, int64_t dim, int64_t size);

}  // namespace alpa::planner
