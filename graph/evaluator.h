// The reference evaluator. It defines the result of each op. It runs one op after another, on full arrays. The code is
// deliberately simple and slow. The tests compare every backend with it.
//
// Rounding:  An op on floats computes in double and rounds once to its result type. A reduction (or reduce-window) of
//            one array keeps its partial results in double if AsReduceKind knows the combiner. Integer arithmetic
//            wraps as in XLA.
// Choices:   If XLA allows several results, the evaluator chooses as follows.
//            Integer x / 0 is -1 (all ones), x % 0 is x, and INT_MIN / -1 is INT_MIN.
//            A shift by at least the bit width gives 0. An arithmetic right shift gives copies of the sign bit instead.
//            Conversion to an integer saturates if the float is out of range, and gives 0 for NaN.
//            Maximum and minimum propagate NaN.
//            Gather and dynamic slices clamp their start indices. A scatter skips windows that do not fit completely
//            into the array. `conditional` takes its last branch if the index is out of range.
// Threads:   There is no shared state. A call uses only the calling thread.
// Limits:    Live values use at most 8 GiB, and regions nest at most 256 levels deep. A call that exceeds a limit
//            returns kResourceExhausted.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace alpa::graph {

// Returns the results of the graph.
// REQUIRES: a verified graph without collectives.
// Errors: kInvalidArgument if the arguments do not match the parameters. kUnimplemented for an op that the evaluator
//         does not support. kDeadlineExceeded if one `while` needs more than `max_loop_iterations` iterations.
absl::StatusOr<std::vector<Literal>> Evaluate(const Graph& graph, std::span<const Literal> arguments,
                                              int64_t max_loop_iterations = 1'000'000);

// Returns the results of one op of `graph` on the given operands, for constant folding and conformance tests.
absl::StatusOr<std::vector<Literal>> EvaluateOp(const Graph& graph, const Op& op, std::span<const Literal> operands);

// Options for graphs with collectives or AxisIndex. `collective` computes the results of a collective or AxisIndex on
// this device.
struct EvaluateOptions {
  int64_t max_loop_iterations = 1'000'000;
  std::function<absl::StatusOr<std::vector<Literal>>(const Graph&, const Op&, std::span<const Literal>)> collective;
};
absl::StatusOr<std::vector<Literal>> EvaluateWith(const EvaluateOptions& options, const Graph& graph,
                                                  std::span<const Literal> arguments);

}  // namespace alpa::graph
