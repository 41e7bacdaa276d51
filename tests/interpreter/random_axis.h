// Draws random requests to cut an executable along one more mesh axis, for tests.
#pragma once

#include <random>
#include <string>

#include "plan/executable.h"
#include "planner/partition/axis_pass.h"

namespace alpa::testing {

// Returns a request for an axis of size 2 or 3. About half of the leaves get a cut of random rank. The cut splits the
// leaf along a dimension that the axis can split, or keeps the leaf replicated. About a third of the requests
// reduce-scatter partial sums, as in ZeRO.
planner::AxisRequest RandomAxis(std::mt19937& random, const plan::Executable& executable, const std::string& name);

}  // namespace alpa::testing
