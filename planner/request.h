// Translates a client's pins (proto/job_service.proto) into planner options.
//
// Threads: a pure function.
#pragma once

#include "planner/planner.h"
#include "proto/job_service.pb.h"

namespace alpa::planner {

// Returns the options of `request`. MakePlan checks whether the pins fit a program.
// REQUIRES: plan::Check(request) is OK.
PlanOptions OptionsOf(const proto::PlanRequest& request);

}  // namespace alpa::planner
