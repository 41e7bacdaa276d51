// What the machines of a cluster were measured to do, for people.
//
// Threads: pure functions.
#pragma once

#include <string>

#include "cluster/cluster.h"

namespace alpa::client {

// Hosts with their devices, then their links, as two tables; empty where nothing is known of any host.
std::string InventoryText(const cluster::Cluster& cluster);

}  // namespace alpa::client
