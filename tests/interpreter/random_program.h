// Draws small random steps with many kinds of ops. Tests of properties that hold for every program use these steps.
#pragma once

#include <random>

#include "tests/interpreter/steps.h"

namespace alpa::testing {

// Returns a step with two state leaves, one batch leaf, about `ops` ops and one to three aux results. The ops are
// matrix products, elementwise ops, transposes, reductions, reshapes, broadcasts, concatenations, slices and pads. A
// value may have several readers. The leaves have dimensions of size 2, 3, 4 or 6.
Step RandomProgram(std::mt19937& random, int ops);

}  // namespace alpa::testing
