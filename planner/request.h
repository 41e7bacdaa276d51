// A client's pins (proto/job_service.proto) as options of the planner.
//
// Threads: a pure function.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/roles.h"
#include "planner/planner.h"
#include "proto/job_service.pb.h"

namespace alpa::planner {

// REQUIRES: plan::Check(request) and plan::Verify(roles, program) are OK. Errors: kInvalidArgument where tensor cuts do
// not fit the program.
absl::StatusOr<PlanOptions> OptionsOf(const proto::PlanRequest& request, const graph::Graph& program,
                                      const plan::Roles& roles);

}  // namespace alpa::planner
