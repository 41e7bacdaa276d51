// The JSON answers of /api/v1. Field names are a stable interface, and they include the unit.
//
// Threads: the caller holds the core's lock.
#pragma once

#include <optional>
#include <string>

#include "coordinator/core/core.h"

namespace alpa::coordinator {

std::string ClusterJson(const Core& core);
std::string WorkersJson(const Core& core);
std::string JobsJson(const Core& core);
// The next three functions return nullopt if no job has this id.
std::optional<std::string> JobJson(const Core& core, const std::string& job_id);
// Returns the plan: its "text", its fields in "plan" (null until the job is planned), and the predicted timeline of a
// step in "spans".
std::optional<std::string> PlanJson(const Core& core, const std::string& job_id);
// Returns step, seconds, loss and unix_ms of the kept steps. If more than 2000 steps are kept, leaves some out, but
// never the last one.
std::optional<std::string> TimelineJson(const Core& core, const std::string& job_id);

}  // namespace alpa::coordinator
