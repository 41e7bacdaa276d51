// Formats the performance of a cluster's machines as human-readable tables.
//
// Threads: pure functions.
#pragma once

#include <string>

#include "cluster/cluster.h"

namespace alpa::client {

// Returns two tables. The first one has the hosts with their devices, the second one has the links. If no host is
// known, returns an empty string.
std::string InventoryText(const cluster::Cluster& cluster);

}  // namespace alpa::client
