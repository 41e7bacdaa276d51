// From a submitted program to what workers run, step by step: load, plan (or take the plan that is given), lower. The
// coordinator does so for jobs, `alpa plan` does so for people.
//
// Threads: pure functions. They take seconds for large programs.
// Errors:  with a reason word: BAD_PROGRAM, UNSUPPORTED_OP, NO_FEASIBLE_PLAN, BAD_PLAN, or INTERNAL for a fault of
// ours.
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
// Imported and verified, as the user wrote it.
absl::StatusOr<JobProgram> ImportProgram(absl::string_view serialized_hlo, const proto::Roles& roles);
// In the form that is planned, and that plans are fingerprinted for.
JobProgram Simplified(const JobProgram& program);

// A plan that a user gives, verified for this program. Its devices are 0..n-1.
absl::StatusOr<plan::Plan> ReadGivenPlan(const proto::Plan& given, const JobProgram& simplified);

// The plan that is given in the request, or one that keeps to its pins; on the first of `devices`, verified.
// REQUIRES: plan::Check(request) is OK.
absl::StatusOr<plan::Plan> PlanJob(const JobProgram& simplified, const proto::PlanRequest& request,
                                   const std::vector<DeviceId>& devices);

// The best plan for the cluster's devices that keeps to the request's pins, verified, with its prediction.
// REQUIRES: plan::Check(request) is OK, no plan is given, and the cluster is measured.
absl::StatusOr<Searched> SearchJob(const JobProgram& simplified, const proto::PlanRequest& request,
                                   const cluster::Cluster& cluster, const SearchLimits& limits);

// What workers run, verified. `given`: the plan was not made by this build's planner, so that it may ask for the
// impossible.
absl::StatusOr<plan::Executable> LowerJob(const plan::Plan& plan, const JobProgram& simplified, bool given);

}  // namespace alpa::planner
