// Builds training steps for tests of lowering. Their graphs contain an explicit backward. This file also draws random
// inputs for the steps, and compares results.
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

// Numbers of examples, input features, hidden features and output features in the steps of MakeStep().
inline constexpr int64_t kBatch = 48, kIn = 5, kHidden = 6, kOut = 3;

struct Step {
  graph::Graph graph;
  plan::Roles roles;
};

struct StepOptions {
  bool masked = false;      // the loss is the mean over the examples that a mask selects
  bool batch_norm = false;  // subtracts the mean over the batch from the hidden layer
  bool noise = false;       // adds pseudo-random noise to the hidden layer; its key is a state leaf
  bool time_major = false;  // x and y have shape [2, B, ..] and are flattened to [2 * B, ..]
  graph::DType dtype = graph::DType::kF32;
};

// Returns a step of a two-layer perceptron with squared loss and gradient clipping.
// Inputs: w1, w2, key (state), x, y (batch), and a mask (batch) if `masked`.
// Results: w1, w2, key (state), the loss, the gradient of w1, and the error of each example (aux).
Step MakeStep(const StepOptions& options);
// The list that StateInputs() returns for every step of MakeStep().
inline const std::vector<int32_t> kStateInputs = {0, 1, 2, -1, -1, -1};

// Returns a step of `layers` residual layers of width `kWidth`, with squared loss, clipping by the global norm, and
// momentum. Inputs: w0, .., m0, .. (state), x, y (batch). Results: w0, .., m0, .. (state), the loss (aux).
// `tied`: the last layer multiplies its output by w0 transposed.
inline constexpr int64_t kWidth = 8;
Step MakeDeepStep(int layers, bool tied);
// Returns one entry per result of the step: the graph parameter that the result replaces, or -1 for aux. Interpret()
// takes this list.
std::vector<int32_t> StateInputs(const Step& step);

// Returns random inputs of the step: normally distributed floats, random keys, and masks of 0 and 1.
std::vector<graph::Literal> RandomInputs(const Step& step, int seed);
// Devices returns devices 0 to n - 1. ClusterOf returns an unmeasured cluster of these devices on one node.
std::vector<DeviceId> Devices(int n);
cluster::Cluster ClusterOf(int n);

inline constexpr double kRate = 1e9;  // FLOP/s and bytes/s of MeasuredCluster
// Returns a measured cluster of `n` devices on one host with `cores` cores (0: no limit). A device uses one core while
// it computes. Matrix products and memory accesses run at kRate.
cluster::Cluster MeasuredCluster(int n, double cores, Bytes memory = 0);

// Plans and lowers the step with data degree `devices` and k microbatches. Verifies the plan and the executable.
absl::StatusOr<plan::Executable> PlanAndLower(const Step& step, int devices, int64_t k, plan::Statistics statistics);

// Returns OK, or a kInternal error that names the first result whose error exceeds `tolerance` times its largest
// expected value.
absl::Status CheckClose(const std::vector<graph::Literal>& actual, const std::vector<graph::Literal>& expected,
                        double tolerance);

}  // namespace alpa::testing
