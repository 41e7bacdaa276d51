// Stores a dimension that the axis size does not divide.
//
// Model:  The dimension is stored in n tiles of ceil(size / n), of which the last is short. The slot becomes n full
//         tiles long, so the axis divides it. Programs that read the slot slice off the padding, and programs that
//         write it pad their result. A computation on the slot gathers the array first.
#pragma once

#include "plan/executable.h"

namespace alpa::planner {

// Extends dimension `dim` of `slot` on mesh `mesh` to `size`. Rewrites every program that reads or writes the slot: it
// slices what it reads and pads what it writes.
// REQUIRES: `size` is at least the current size of the dimension; only RUN instructions name the slot.
void PadSlot(plan::Executable& executable, int32_t mesh, plan::SlotId slot, int64_t dim, int64_t size);

}  // namespace alpa::planner
