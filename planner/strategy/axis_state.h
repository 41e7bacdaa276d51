// States of values along an axis, as the planner's code calls them.
#pragma once

#include "plan/axis_state.h"

namespace alpa::planner {

using plan::AxisState;
using plan::CanSplit;
using plan::ChunkDims;

}  // namespace alpa::planner
