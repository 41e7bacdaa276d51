// What a collective costs on the devices of a mesh.
//
// Source: ring algorithms (Patarasu & Yuan, 2009): of B bytes of the whole array, a device sends 2 B (n-1)/n for an all-reduce,
//         B (n-1)/n for an all-gather or reduce-scatter, B (n-1)/n² for an all-to-all of it.
// Threads: pure functions.
#pragma once

#include "cluster/cluster.h"
#include "graph/graph.h"

namespace alpa::planner {

// How many devices exchange with each other in it.
int64_t GroupSize(const graph::Op& op, const cluster::Mesh& mesh);

// Bytes that each device sends. `n`: devices of the group.
double CollectiveBytes(const graph::Graph& graph, const graph::Op& op, int64_t n);

// Seconds of the slowest group of the mesh. Groups that leave a host share its way out.
// REQUIRES: the cluster is measured and has the mesh's devices.
double CollectiveSeconds(const graph::Graph& graph, const graph::Op& op, const cluster::Mesh& mesh, const cluster::Cluster& cluster);

}  // namespace alpa::planner
