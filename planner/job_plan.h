// Turns a submitted program into an executable in three steps: import the program, make a plan (or read a given one),
// and lower the plan. The coordinator runs these steps for jobs; `alpa plan` runs them on the command line.
//
// Threads: pure functions, except for the time limits of the search and of the exact choice (planner.h). For large
//          programs, the functions take several seconds.
// Errors:  every status carries a reason code: BAD_PROGRAM, UNSUPPORTED_OP, NO_FEASIBLE_PLAN or BAD_PLAN, or INTERNAL
//          for a fault of the planner itself.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"
#include "graph/graph.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "plan/roles.h"
#include "planner/search/search.h"
#include "proto/job_service.pb.h"

namespace alpa::planner {

struct JobProgram {
  graph::Graph graph;
  plan::Roles roles;
};
// Imports the program as the user wrote it, and verifies it. Errors: BAD_PROGRAM, UNSUPPORTED_OP.
absl::StatusOr<JobProgram> ImportProgram(absl::string_view serialized_hlo, const proto::Roles& roles);
// Returns the simplified program. The planner plans this form, and a plan records the fingerprint of this form.
JobProgram Simplified(const JobProgram& program);

// Reads the user's plan and verifies it for this program. The plan's devices are numbered 0..n-1. Errors: BAD_PLAN.
absl::StatusOr<plan::Plan> ReadGivenPlan(const proto::Plan& given, const JobProgram& simplified);

// Returns a verified plan on the first of `devices`: the request's own plan if it has one, otherwise a plan that keeps
// to the request's pins. Errors: NO_FEASIBLE_PLAN, BAD_PLAN, INTERNAL. REQUIRES: plan::Check(request) is OK.
absl::StatusOr<plan::Plan> PlanJob(const JobProgram& simplified, const proto::PlanRequest& request,
                                   const std::vector<DeviceId>& devices);

// For the cluster's devices, returns the best verified plan that keeps to the request's pins, with its prediction.
// Errors: NO_FEASIBLE_PLAN, INTERNAL.
// REQUIRES: plan::Check(request) is OK, the request has no plan of its own, and the cluster is measured.
absl::StatusOr<Searched> SearchJob(const JobProgram& simplified, const proto::PlanRequest& request,
                                   const cluster::Cluster& cluster, const SearchLimits& limits);

// Lowers a plan and verifies the executable. `given`: whether the plan comes from the user. Errors: BAD_PLAN if a given
// plan cannot be lowered. NO_FEASIBLE_PLAN or INTERNAL if a plan that the planner made cannot be lowered.
absl::StatusOr<plan::Executable> LowerJob(const plan::Plan& plan, const JobProgram& simplified, bool given);

}  // namespace alpa::planner
