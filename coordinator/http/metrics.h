// The text of /metrics, in the Prometheus exposition format.
//
// Threads: thread-safe. Metrics takes the coordinator's lock.
#pragma once

#include <string>

#include "coordinator/rpc/coordinator.h"

namespace alpa::coordinator {

// Returns all metrics. Leaves out jobs that ended more than an hour ago, to bound the number of time series.
std::string Metrics(Coordinator& coordinator, const std::string& version);

}  // namespace alpa::coordinator
