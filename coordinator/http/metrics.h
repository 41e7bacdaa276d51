// The text of /metrics, in Prometheus' exposition format.
//
// Threads: thread-safe, like the coordinator.
#pragma once

#include <string>

#include "coordinator/rpc/coordinator.h"

namespace alpa::coordinator {

// Jobs that ended an hour ago are left out, so that the number of series stays bounded by what goes on.
std::string Metrics(Coordinator& coordinator, const std::string& version);

}  // namespace alpa::coordinator
