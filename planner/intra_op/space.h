// The problem of cutting an executable along one more mesh axis, and what its choices mean.
//
// Nodes:  every op of every program that the mesh runs, with all rules that the rule table has for it, for the splits that can arise:
//         those of whole dimensions, and what they become on their way through reshapes, forward and backward. Barriers and collectives
//         over other axes are a node for each operand. Every slot that keeps a leaf is a node: whole or split. A loop counts as
//         often as it runs.
// Slots:  batches lie whole, or as the request cuts them. State may lie in any split that divides; what is written to it is converted
//         to that. Temporary slots and accumulators are in the state in which they are made (so a partial sum may stay in one). Aux is
//         returned in a plain tile, or whole.
// Rigid:  with `rigid_weights`, what matrix products read of the state (rearranged or converted) is stored in parts wherever a dimension
//         allows it, and is computed with in the parts in which it is stored, never gathered: tensor parallelism, as
//         opposed to one more axis of data parallelism, which would often be cheaper and keep whole weights on every device.
// Memory: all slots, and what is alive at the fullest places of the programs, of the values that are written to memory at all (not
//         those that only elementwise ops make and read). Converted copies do not count.
// Limits: a value is made in one state; it is written to temporary slots as it is made; axes with ZeRO's or the sequence's truths
//         are not described (these choose for themselves).
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
  double memory_limit = kForbidden;   // bytes on one device
};

struct NodeOrigin {
  int32_t program = -1;
  int op = -1;
  int part = -1;                      // -1: the whole op
  int32_t slot = -1;                  // of a slot's node
};

struct Space {
  Problem problem;
  std::vector<NodeOrigin> origins;            // by node
  std::vector<std::vector<OpRule>> rules;     // by node, by choice; empty for slots
  plan::Executable executable;                // that the nodes are of: the given one, padded for the request's cuts
  AxisRequest request;
};

// REQUIRES: a verified executable, whose mesh runs programs and loops only (as CutAlongAxis).
absl::StatusOr<Space> MakeSpace(const plan::Executable& executable, const AxisRequest& request, const CostModel& model,
                                const SpaceOptions& options);

// The request that makes it so: a cut for each leaf that would not lie so by itself, pins where propagation would do otherwise.
absl::StatusOr<AxisRequest> RequestOf(const Space& space, const std::vector<int>& chosen);

// The request without pins that has the same leaves where rigid weights and all leaves that are split are named; what follows may differ.
absl::StatusOr<AxisRequest> CutsOf(const Space& space, const std::vector<int>& chosen);

// The choices that a request makes; empty where it does something that the space has not. Pins and cuts are followed.
absl::StatusOr<std::vector<int>> ChoicesOf(const Space& space, const AxisRequest& request);

}  // namespace alpa::planner::intra_op
