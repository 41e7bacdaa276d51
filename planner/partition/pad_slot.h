// Storage of a dimension that an axis does not divide.
//
// Model:  tiles of ceil(size / n), the last one short: the slot becomes n tiles long, programs slice what is real off it and pad
//         what they write. Cutting the slot is even then; what is computed with it is gathered first.
#pragma once

#include "plan/executable.h"

namespace alpa::planner {

// Makes `slot` of mesh `mesh` `size` long in dimension `dim`, and has every program that reads or writes it slice and pad.
// REQUIRES: size >= that dimension; no instruction but RUN names the slot.
void PadSlot(plan::Executable& executable, int32_t mesh, plan::SlotId slot, int64_t dim, int64_t size);

}  // namespace alpa::planner
