// Which weights tensor parallelism cuts, and where, when the user only says how many ways.
//
// Model:  leaves that are alike (same shape, read by the same kind of op) are cut alike. Going through such groups in the order
//         of their first use, each is given the dimension that makes the whole step cheapest, all else as it stands, by a
//         price in which arithmetic that every device repeats weighs most, then bytes on the wire, then state. For a
//         transformer that is Megatron's layout: columns, then rows, heads whole, one all-reduce a block each way.
// Cost:   groups x dimensions drafts of the step, twice at most.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/partition/axis_pass.h"

namespace alpa::planner {

// Price of an executable's step on one device: FLOPs of matrix products, bytes sent, bytes of state, loops counted.
struct StepCost {
  double product_flops = 0;
  double sent_bytes = 0;
  double state_bytes = 0;
};
StepCost StepCostOf(const plan::Executable& executable, MeshId mesh);

// `request` without cuts of state leaves; returns it with them. Errors: as CutAlongAxis.
absl::StatusOr<AxisRequest> ChooseTensorCuts(const plan::Executable& executable, const AxisRequest& request);

}  // namespace alpa::planner
