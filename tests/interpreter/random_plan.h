// Random plans: any that the plan verifier accepts, however foolish.
#pragma once

#include <random>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/plan.h"
#include "plan/roles.h"

namespace alpa::testing {

// A plan on at most `devices` devices (numbered from 0). kFailedPrecondition, kInvalidArgument: what was drawn does not fit the
// program (too few ops for so many stages, a leaf too short); draw again.
absl::StatusOr<plan::Plan> RandomPlan(std::mt19937& random, const graph::Graph& program, const plan::Roles& roles, int devices);

}  // namespace alpa::testing
