// Training steps with their backward written out, for tests of lowering: random inputs for them, and comparison.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cluster/cluster.h"
#include "graph/graph.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "plan/roles.h"

namespace alpa::testing {

inline constexpr int64_t kBatch = 48, kIn = 5, kHidden = 6, kOut = 3;

struct Step {
  graph::Graph graph;
  plan::Roles roles;
};

struct StepOptions {
  bool masked = false;      // mean over the examples that a mask names
  bool batch_norm = false;  // of the hidden layer
  bool noise = false;       // added to the hidden layer, made from iota and a key in the state
  bool time_major = false;  // x is [T, B, ..] and flattened to [T*B, ..]
  graph::DType dtype = graph::DType::kF32;
};

// A two-layer perceptron with squared loss and clipping. Inputs: w1, w2, key (state), x, y, mask (batch; mask where masked).
// Results: w1, w2, key, then loss, the gradient of w1, the error of each example.
Step MakeStep(const StepOptions& options);
inline const std::vector<int32_t> kStateInputs = {0, 1, 2, -1, -1, -1};  // of each result

// Residual layers of width `kWidth`, squared loss, clipping by global norm, momentum. Inputs: w0, .., m0, .. (state), x, y (batch);
// results: new w0, .., m0, .., loss. `tied`: the output is multiplied with w0 transposed.
inline constexpr int64_t kWidth = 8;
Step MakeDeepStep(int layers, bool tied);
// Of each result, for any step: what Interpret wants.
std::vector<int32_t> StateInputs(const Step& step);

std::vector<graph::Literal> RandomInputs(const Step& step, int seed);
std::vector<DeviceId> Devices(int n);
cluster::Cluster ClusterOf(int n);

// Data parallel over `devices` with k microbatches, each part verified.
absl::StatusOr<plan::Executable> PlanAndLower(const Step& step, int devices, int64_t k, plan::Statistics statistics);

// OK, or which result is further off than `tolerance` x its largest value.
absl::Status CheckClose(const std::vector<graph::Literal>& actual, const std::vector<graph::Literal>& expected,
                        double tolerance);

}  // namespace alpa::testing
