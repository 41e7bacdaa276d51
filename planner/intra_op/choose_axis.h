// Chooses the cheapest way to cut an executable along one more mesh axis.
//
// Model:   Finds the best solution of the problem that space.h describes, unless time runs out. The cuts that
//          ChooseTensorCuts finds are a known solution. In the same cost model, the answer therefore never costs more
//          than these cuts. If no choice fits into memory, the memory limit is dropped. If no choice keeps all weights
//          sharded, this constraint is dropped, too. `fits` and `rigid` report whether the answer meets the two
//          constraints.
//          The answer is the result of ChooseTensorCuts if time runs out before a choice is found that keeps all
//          weights sharded, or if the space does not describe the request.
// Costs:   seconds if the cluster is measured, otherwise fixed costs (cost_model.h).
// Threads: a pure function, except for the time limit.
#pragma once

#include "absl/status/statusor.h"
#include "cluster/cluster.h"
#include "planner/intra_op/solve.h"
#include "planner/partition/axis_pass.h"

namespace alpa::planner {

struct ChooseAxisOptions {
  const cluster::Cluster* cluster = nullptr;  // null or not measured: fixed costs, and no memory limit
  double seconds = 10;                        // time limit
  // true: the answer has cuts of leaves and no pins, and all other states come from propagation. The answer is either
  // the cuts of the exact choice or the cuts of ChooseTensorCuts, whichever cost less.
  bool leaves_only = false;
  size_t tie_from = intra_op::ProblemOptions().tie_from;
};

struct ChosenAxis {
  AxisRequest request;               // the given request, with cuts and pins added
  intra_op::ProblemOutcome outcome;  // outcome of the integer program, with the proven bound
  bool fits = true;                  // whether the request fits into memory, as the problem counts memory
  bool rigid = true;                 // whether all weights stay sharded
  double cost = 0;                   // cost of the request, in the problem's cost model
  // Cost of the cuts of ChooseTensorCuts in the same model. Infinite if the space does not contain these cuts, for
  // example because they leave a weight replicated.
  double greedy_cost = 0;
};

// Keeps the cuts of `request` and chooses all other states. The new axis is the last axis of `mesh`.
// Errors: as CutAlongAxis.
absl::StatusOr<ChosenAxis> ChooseAxis(const plan::Executable& executable, const AxisRequest& request,
                                      const cluster::Mesh& mesh, const ChooseAxisOptions& options);

}  // namespace alpa::planner
