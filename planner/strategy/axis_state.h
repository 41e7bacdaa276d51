// Brings the states of values along an axis (plan/axis_state.h) into the planner's namespace.
#pragma once

#include "plan/axis_state.h"

namespace alpa::planner {

using plan::AxisState;
using plan::CanSplit;
using plan::ChunkDims;

}  // namespace alpa::planner
