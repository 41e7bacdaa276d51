// Frees each temporary slot of an instruction list after its last use.
#pragma once

#include "plan/executable.h"

namespace alpa::planner {

// Adds a FREE of each temporary after the last top-level instruction that names it. First removes the top-level FREE
// instructions that the list already has.
void FreeTemporaries(plan::MeshProgram& list);

}  // namespace alpa::planner
