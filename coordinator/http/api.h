// The JSON that /api/v1 answers with: the field names are an interface, units are in them.
//
// Threads: to be called with the core's lock held.
#pragma once

#include <optional>
#include <string>

#include "coordinator/core/core.h"

namespace alpa::coordinator {

std::string ClusterJson(const Core& core);
std::string WorkersJson(const Core& core);
std::string JobsJson(const Core& core);
// Nothing where there is no such job.
std::optional<std::string> JobJson(const Core& core, const std::string& job_id);
// "text" and, once planned, the plan field by field.
std::optional<std::string> PlanJson(const Core& core, const std::string& job_id);
// Steps that are kept, thinned to at most 2000 with the last among them: step, seconds, loss, unix_ms.
std::optional<std::string> TimelineJson(const Core& core, const std::string& job_id);

}  // namespace alpa::coordinator
