// The costs of ops and conversions when an executable is cut along one more mesh axis.
//
// Threads: values. One thread at a time may call the functions of a model, because `move` caches its results.
#pragma once

#include <functional>

#include "cluster/cluster.h"
#include "graph/graph.h"
#include "planner/intra_op/problem.h"
#include "planner/strategy/rules.h"

namespace alpa::planner::intra_op {

struct CostModel {
  // Returns the cost of running `op` once under `rule`, without the conversions of its operands. `part`: if the op
  // handles its operands separately (rule_set.h), the index of the operand. Otherwise -1.
  std::function<double(const graph::Graph&, const graph::Op&, int part, const OpRule& rule)> op;
  // Returns the costs of converting an array once. `bytes`: size of the full array; `partial_bytes`: size of one of its
  // partial sums, which may have a wider type.
  std::function<MoveCosts(double bytes, double partial_bytes)> move;
  // The cost of keeping one byte of state on a device.
  double state_byte = 0;
};

// Returns a model for devices that are not measured. It gives FLOPs, bytes and collectives fixed weights
// (cost/fixed_costs.h). The unit is the cost of sending one byte. The FLOPs of matrix products weigh most, because the
// purpose of an axis is to divide them. The bytes that memory-bound ops write weigh less than bytes sent, and bytes of
// state weigh least. `mesh` does not have the new axis yet; `n` is the size of that axis.
CostModel FixedCostModel(const cluster::Mesh& mesh, int64_t n);

// Returns a model that predicts seconds on the devices of `mesh`, whose last axis is the new one. The profile of the
// first device stands for all devices. Matrix products and other ops that are not fused take the time that the device's
// profile gives for the shapes of their tiles. Elementwise ops, transposes and slices are treated as if they were
// fused: they take the time of their arithmetic or of their memory traffic, whichever is longer. Collectives take the
// time that the profiles of the links give. REQUIRES: `cluster` is measured, has the mesh's devices, and outlives the
// model.
CostModel MeasuredCostModel(const cluster::Mesh& mesh, const cluster::Cluster& cluster);

// Returns the bytes that each device sends per conversion, among `n` devices (cost/collective_cost.h).
MoveCosts SentBytes(double bytes, double partial_bytes, int64_t n);

}  // namespace alpa::planner::intra_op
