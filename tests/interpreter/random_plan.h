// Draws random plans for tests. The plans pass the plan verifier, but may be very inefficient.
#pragma once

#include <random>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/plan.h"
#include "plan/roles.h"

namespace alpa::testing {

// Returns a plan on at most `devices` devices, which are numbered from 0.
// Errors: kFailedPrecondition or kInvalidArgument if the drawn plan does not fit the program: the program has too few
//         ops for the number of stages, or a leaf is too short. The caller then draws again.
absl::StatusOr<plan::Plan> RandomPlan(std::mt19937& random, const graph::Graph& program, const plan::Roles& roles,
                                      int devices);

}  // namespace alpa::testing
