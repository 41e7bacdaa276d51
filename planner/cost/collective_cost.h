// The cost of a collective on the devices of a mesh.
//
// Source:  ring algorithms (Patarasu & Yuan, 2009). For an array of B bytes on n devices, each device sends 2 B (n-1)/n
//          in an all-reduce, B (n-1)/n in an all-gather or reduce-scatter, and B (n-1)/n² in an all-to-all.
// Threads: pure functions.
#pragma once

#include "cluster/cluster.h"
#include "graph/graph.h"

namespace alpa::planner {

// Returns the number of devices that exchange data with each other in `op`, a collective.
int64_t GroupSize(const graph::Op& op, const cluster::Mesh& mesh);

// Returns the bytes that each device sends. `n`: number of devices in the group.
double CollectiveBytes(const graph::Graph& graph, const graph::Op& op, int64_t n);

// The mesh axes of the collective divide the mesh into groups of devices. Returns the seconds of the slowest group.
// Groups that send out of the same host share the host's outgoing bandwidth. REQUIRES: the cluster is measured and has
// the mesh's devices.
double CollectiveSeconds(const graph::Graph& graph, const graph::Op& op, const cluster::Mesh& mesh,
                         const cluster::Cluster& cluster);

}  // namespace alpa::planner
