// Describes the ways to cut an executable along one more mesh axis as a Problem (problem.h), and translates choices of
// the problem into axis requests.
//
// Nodes:  Each op of each program that the mesh runs is a node. Its choices are the rules of the rule table for every
//         split that can arise: splits of a dimension, and what reshapes turn these into, forward and backward. A
//         barrier, or a collective over other axes, is one node per operand. Each slot that keeps a leaf is a node,
//         too: replicated or split. The costs of ops in a loop count once per iteration.
// Slots:  A batch leaf is replicated, or as the request cuts it. A state leaf may have any split that divides, and its
//         new value is converted to that split. Temporary slots and accumulators keep the state in which their value is
//         made, so a partial sum may stay in one. Aux is returned in plain tiles or replicated.
// Rigid:  A weight is a state leaf that matrix products read, directly or rearranged or converted. With
//         `rigid_weights`, each weight is stored sharded if a dimension allows it, and products use it in the tiles in
//         which it is stored: it is never gathered. This is tensor parallelism. Without the constraint, one more axis
//         of data parallelism is often cheaper, but it keeps full weights on every device.
// Memory: Counts all slots, and the values that are live at the fullest point of each of the (at most three) fullest
//         programs. A value counts only if it is written to memory, and not if only elementwise ops make and read it.
//         Converted copies do not count.
// Limits: A value is made in one state, and is written to temporary slots in that state. The space does not describe
//         axes with the reduce-scatters of ZeRO or of sequence sharding, because these decide some states themselves.
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

// The op or the slot that a node stands for. If both are -1, the node makes values that are always replicated.
struct NodeOrigin {
  int32_t program = -1;
  int op = -1;
  int part = -1;                     // operand; -1: the whole op
  int32_t slot = -1;
};

struct Space {
  Problem problem;
  std::vector<NodeOrigin> origins;         // by node
  std::vector<std::vector<OpRule>> rules;  // by node, by choice; empty for slots
  plan::Executable executable;             // the executable of the nodes: the given one, padded for the request's cuts
  AxisRequest request;
};

// Returns the problem of cutting `executable` along the axis of `request`, with costs by `model`.
// Errors: kUnimplemented if the space does not describe the request: it has pins or reduce-scatters, the mesh sends or
// receives, a program runs from two places, or two programs write one slot. Otherwise as StatesAlongAxis.
// REQUIRES: a verified executable.
absl::StatusOr<Space> MakeSpace(const plan::Executable& executable, const AxisRequest& request, const CostModel& model,
                                const SpaceOptions& options);

// Returns the request that makes these choices. It has a cut for each rigid weight and for each leaf that would
// otherwise be in another state, and a pin for each value for which propagation would otherwise follow another rule.
absl::StatusOr<AxisRequest> RequestOf(const Space& space, const std::vector<int>& chosen);

// As RequestOf, but without pins: every leaf has the chosen state, and other values may have other states.
absl::StatusOr<AxisRequest> CutsOf(const Space& space, const std::vector<int>& chosen);

// Returns the choices that the cuts and pins of `request` lead to. Empty if the space does not contain them.
absl::StatusOr<std::vector<int>> ChoicesOf(const Space& space, const AxisRequest& request);

}  // namespace alpa::planner::intra_op
