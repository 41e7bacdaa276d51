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
// The next three return nullopt if there is no such job.
std::optional<std::string> JobJson(const Core& core, const std::string& job_id);
// Returns the plan: its "text", its fields in "plan" (null until the job is planned), and the predicted timeline of a
// step in "spans".
std::optional<std::string> PlanJson(const Core& core, const std::string& job_id);
// Returns step, seconds, loss and unix_ms of the kept steps, thinned to at most 2000. The last step is always included.
std::optional<std::string> TimelineJson(const Core& core, const std::string& job_id);

}  // namespace alpa::coordinator
