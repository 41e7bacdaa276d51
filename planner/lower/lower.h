// Lowers a plan to an executable: stage programs with their collectives, slots, and one instruction list per mesh.
//
// Lowering decides only one thing: stage cuts that the plan leaves open. Everything else follows from the plan. The
// result passes plan::Verify(Executable).
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "planner/stage/stage_pass.h"

namespace alpa::planner {

// Returns the executable of `plan`. REQUIRES: plan::Verify(plan, ...) is OK.
// Errors: as MakePlan, if a hand-written plan contains an impossible split.
absl::StatusOr<plan::Executable> Lower(const plan::Plan& plan, const graph::Graph& program, const plan::Roles& roles);

// Lowers a plan that splits the region of the step (stage/labels.h) into cells (plan::TakesRegionApart). Also returns
// the stage cuts. If the plan has no stage cuts, lowering chooses them. `shares`: as StageRequest::shares. Lowering
// uses them if it chooses the cuts.
absl::StatusOr<Staged> LowerStages(const plan::Plan& plan, const graph::Graph& program, const plan::Roles& roles,
                                   const std::vector<double>& shares = {});

// Returns the executable that LowerStages cuts into stages: the step on one device. If the program allows it, the
// region (stage/labels.h) is in a loop, even with a single microbatch.
absl::StatusOr<plan::Executable> LowerInLoops(const plan::Plan& plan, const graph::Graph& program,
                                              const plan::Roles& roles);

}  // namespace alpa::planner
