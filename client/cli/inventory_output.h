// Prints the performance of a cluster's machines as human-readable tables.
//
// Threads: pure functions.
#pragma once

#include <string>

#include "cluster/cluster.h"

namespace alpa::client {

// Returns two tables: the hosts with their devices, then the links. Returns an empty string if no host is known.
std::string InventoryText(const cluster::Cluster& cluster);

}  // namespace alpa::client
