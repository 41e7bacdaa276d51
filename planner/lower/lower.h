// Turns a Plan into what workers run: SPMD programs with their collectives, slots, and an instruction list a mesh.
//
// Decides nothing: everything follows from the plan. The result passes plan::Verify(Executable).
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "planner/stage/stage_pass.h"

namespace alpa::planner {

// REQUIRES: plan::Verify(plan, ...) is OK. Errors: as MakePlan, where a hand-written plan asks for an impossible split.
absl::StatusOr<plan::Executable> Lower(const plan::Plan& plan, const graph::Graph& program, const plan::Roles& roles);

// The same for a plan that takes the region apart, with the stage cuts that were used: the plan's, or, where it has none, chosen ones,
// for which `shares` are as StageRequest::shares.
absl::StatusOr<Staged> LowerStages(const plan::Plan& plan, const graph::Graph& program, const plan::Roles& roles,
                                   const std::vector<double>& shares = {});

// What LowerStages cuts: the step on one device, its region in a loop even for a single microbatch, where the program allows that.
absl::StatusOr<plan::Executable> LowerInLoops(const plan::Plan& plan, const graph::Graph& program, const plan::Roles& roles);

}  // namespace alpa::planner
