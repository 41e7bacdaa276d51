// A random way to cut an executable along one more axis, for tests.
#pragma once

#include <random>
#include <string>

#include "plan/executable.h"
#include "planner/partition/axis_pass.h"

namespace alpa::testing {

// Any leaf's dimension that divides may be a seed, of any rank; truths are sharded now and then.
planner::AxisRequest RandomAxis(std::mt19937& random, const plan::Executable& executable, const std::string& name);

}  // namespace alpa::testing
