// Small random steps of all kinds of ops, for tests of what holds for any program.
#pragma once

#include <random>

#include "tests/interpreter/steps.h"

namespace alpa::testing {

// Two state leaves, a batch leaf, `ops` ops or a few more (products, elementwise, transposes, reductions, reshapes, broadcasts;
// values read by one or several), one to three aux results. Dimensions are 2, 3, 4, 6.
Step RandomProgram(std::mt19937& random, int ops);

}  // namespace alpa::testing
