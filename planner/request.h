// A client's pins (proto/job_service.proto) as options of the planner.
//
// Threads: a pure function.
#pragma once

#include "planner/planner.h"
#include "proto/job_service.pb.h"

namespace alpa::planner {

// REQUIRES: plan::Check(request) is OK. Whether the pins fit a program, MakePlan tells.
PlanOptions OptionsOf(const proto::PlanRequest& request);

}  // namespace alpa::planner
