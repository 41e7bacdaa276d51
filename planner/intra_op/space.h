// Describes the ways to cut an executable along one more mesh axis as a Problem (problem.h), and translates choices of
// the problem into axis requests.
//
// Nodes:  Each op of each program that the mesh runs is a node. Its choices are the rules of the rule table for every
//         split that can arise. These are the splits of a dimension, and the splits into which reshapes turn them,
//         forward and backward. A barrier, or a collective over other axes, is one node per operand. Each slot that
//         keeps a leaf is a node, too. Its choices are replicated and split. The costs of ops in a loop count once per
//         iteration.
// Slots:  A batch leaf is replicated unless the request cuts it. A state leaf may be split along any dimension that the
//         axis size divides, and its new value is converted to that split. Temporary slots and accumulators keep the
//         state in which their value is made, so they may hold a partial sum. Aux is returned in plain tiles or
//         replicated.
// Rigid:  A weight is a state leaf that matrix products read: directly, rearranged or converted. With `rigid_weights`,
//         each weight is stored sharded if a dimension allows it. Products use its stored tiles, so it is never
//         gathered. This is tensor parallelism. Without this constraint, one more axis of data parallelism is often
//         cheaper, but it keeps full weights on every device.
// Memory: Counts all slots. Also counts live values, at one point in each of three programs (or of all, if there are
//         fewer). The programs are those with the most live bytes. The point is the op at which the program has the
//         most live bytes. A value counts only if it is written to memory. A value that only fusible ops make and read
//         is not written. Converted copies do not count.
// Limits: A value is made in one state, and is written to temporary slots in that state. The space does not describe
//         axes with the reduce-scatters of ZeRO or of sequence sharding, because these reduce-scatters decide some
//         states themselves.
#pragma once

#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/intra_op/cost_model.h"
#include "planner/intra_op/problem.h"
#include "planner/partition/axis_pass.h"

namespace alpa::planner::intra_op {

struct SpaceOptions {
  bool rigid_weights = true;
  double memory_limit = kForbidden;  // bytes per device
};

// The op or the slot that a node stands for. If `op` and `slot` are both -1, the node makes values that are always
// replicated.
struct NodeOrigin {
  int32_t program = -1;
  int op = -1;
  int part = -1;                     // the operand, if the op has one node per operand; -1: the whole op
  int32_t slot = -1;
};

struct Space {
  Problem problem;
  std::vector<NodeOrigin> origins;         // one entry per node
  std::vector<std::vector<OpRule>> rules;  // one entry per node and choice; empty for slots
  plan::Executable executable;             // the given one, padded for the request's cuts; nodes refer to it
  AxisRequest request;
};

// Returns the problem of cutting `executable` along the axis of `request`, with the costs of `model`.
// Errors: kUnimplemented if the space does not describe the request: the request has pins or reduce-scatters, the mesh
// sends or receives, two instructions run one program, or two programs write one slot. Other errors: as
// StatesAlongAxis.
// REQUIRES: a verified executable.
absl::StatusOr<Space> MakeSpace(const plan::Executable& executable, const AxisRequest& request, const CostModel& model,
                                const SpaceOptions& options);

// Returns the request that leads to these choices. It has a cut for each rigid weight, and for each leaf that would
// otherwise be in another state. It has a pin for each value for which propagation would otherwise follow another rule.
absl::StatusOr<AxisRequest> RequestOf(const Space& space, const std::vector<int>& chosen);

// As RequestOf, but without pins: every leaf has its chosen state, and other values may have states that were not
// chosen.
absl::StatusOr<AxisRequest> CutsOf(const Space& space, const std::vector<int>& chosen);

// Returns the choices that the cuts and pins of `request` lead to. Empty if the space does not contain them.
absl::StatusOr<std::vector<int>> ChoicesOf(const Space& space, const AxisRequest& request);

}  // namespace alpa::planner::intra_op
