// What ops and conversions cost when an executable is cut along one more mesh axis.
//
// Threads: values; the functions may be called from anywhere. What they were made from must outlive them.
#pragma once

#include <functional>

#include "cluster/cluster.h"
#include "graph/graph.h"
#include "planner/intra_op/problem.h"
#include "planner/strategy/rules.h"

namespace alpa::planner::intra_op {

struct CostModel {
  // One run of `op` by `rule`, without the conversions of its operands. `part`: of an op that does each operand by itself
  // (rule_set.h), else -1.
  std::function<double(const graph::Graph&, const graph::Op&, int part, const OpRule& rule)> op;
  // Of moving an array once: `bytes` whole, `partial_bytes` as a partial sum (which may be wider).
  std::function<MoveCosts(double bytes, double partial_bytes)> move;
  // Of one byte of state on a device.
  double state_byte = 0;
};

// FLOPs, bytes and collectives, weighed against each other without knowing the devices: repeated products count most, for these are what
// an axis is there to divide; then bytes sent; then bytes that memory-bound ops write; then state. `mesh`: without the new axis, of
// size `n`.
CostModel FixedCostModel(const cluster::Mesh& mesh, int64_t n);

// Seconds on the devices of `mesh`, whose last axis is the new one. Products and the like by the device's curves on the shapes that
// they are left with; elementwise ops by the longer of arithmetic and bytes written, as if fused; collectives by the links.
// REQUIRES: a measured cluster that has the mesh's devices.
CostModel MeasuredCostModel(const cluster::Mesh& mesh, const cluster::Cluster& cluster);

// Bytes that a device sends (collective_cost.h).
MoveCosts SentBytes(double bytes, double partial_bytes, int64_t n);

}  // namespace alpa::planner::intra_op
