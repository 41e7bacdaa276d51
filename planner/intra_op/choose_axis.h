// The cheapest way to cut an executable along one more mesh axis.
//
// Model:  the problem of space.h, solved exactly, or as far as time goes. What ChooseTensorCuts finds is a solution that is known, so
//         that the answer is never dearer by the same price. Where nothing fits into memory, or weights cannot all stay in parts,
//         that is let go, in this order, and said. Where time is too short for any choice with all weights in parts, the answer is
//         ChooseTensorCuts'.
// CostModel: seconds where the cluster is measured, else fixed ones (prices.h).
// Threads: a pure function but for the time limit.
#pragma once

#include "absl/status/statusor.h"
#include "cluster/cluster.h"
#include "planner/intra_op/solve.h"
#include "planner/partition/axis_pass.h"

namespace alpa::planner {

struct ChooseAxisOptions {
  const cluster::Cluster* cluster = nullptr;   // null, or not measured: fixed prices, and memory without limit
  double seconds = 10;
  // No values are pinned: cuts of leaves alone, the exact choice's or ChooseTensorCuts', whichever costs less when all else follows.
  bool leaves_only = false;
  size_t tie_from = intra_op::ProblemOptions().tie_from;
};

struct ChosenAxis {
  AxisRequest request;                // with cuts and pins
  intra_op::ProblemOutcome outcome;   // what is proven
  bool fits = true;                   // into memory, by the problem's measure
  bool rigid = true;                  // weights stay in parts
  double cost = 0;                    // of the request, by the problem's price
  double greedy_cost = 0;             // of what ChooseTensorCuts finds, by the same price; infinite where that is not in the space (it may leave a weight whole)
};

// `request`: its cuts stay, all else is chosen. `mesh` has the axis, as its last. Errors: as CutAlongAxis; kUnimplemented where
// the space does not describe the request (space.h).
absl::StatusOr<ChosenAxis> ChooseAxis(const plan::Executable& executable, const AxisRequest& request, const cluster::Mesh& mesh,
                                      const ChooseAxisOptions& options);

}  // namespace alpa::planner
