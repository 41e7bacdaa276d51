// Ends the life of each temporary slot of a list.
#pragma once

#include "plan/executable.h"

namespace alpa::planner {

// Puts a FREE of each temporary behind the last instruction that names it; those that stand there already are dropped.
void FreeTemporaries(plan::MeshProgram& list);

}  // namespace alpa::planner
