// Chooses which weights tensor parallelism cuts, and along which dimensions, if the user only gives the number of
// devices.
//
// Model:  Leaves that look alike (same shape, read by the same kind of op) form a group and get the same cut. The
//         algorithm visits the groups in the order of first use. Each group gets the dimension that makes the whole
//         step cheapest while all other groups stay unchanged. In this cost, arithmetic that every device repeats
//         weighs most, then bytes sent, then bytes of state. For a transformer, the result is Megatron's layout. The
//         first matrix of a block is cut by columns and the second one by rows, and each head is on one device. Each
//         block then needs one all-reduce in the forward and one in the backward.
// Cost:   writes a draft (AxisDraft) of the step at most twice for each dimension of each group, because there are two
//         searches. One takes the cheapest dimension of each group. The other takes the dimension that saves the most
//         FLOPs per additional byte sent. The cheaper result wins.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/partition/axis_pass.h"

namespace alpa::planner {

// The cost of one step of an executable on one device. An op in a loop counts once per iteration.
struct StepCost {
  double product_flops = 0;  // FLOPs of matrix products
  double sent_bytes = 0;
  double state_bytes = 0;
};
StepCost StepCostOf(const plan::Executable& executable, MeshId mesh);

// Returns `request` with cuts of weights added. Leaves that `request` already cuts keep their cuts. Errors: as
// CutAlongAxis.
absl::StatusOr<AxisRequest> ChooseTensorCuts(const plan::Executable& executable, const AxisRequest& request);

}  // namespace alpa::planner
