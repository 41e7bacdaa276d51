// The reference evaluator. It defines the result of each op. It runs op by op, on whole arrays. The code is as plain as
// possible and slow on purpose. Every backend is tested against it.
//
// Rounding:  Floats are computed in double and rounded once to the op's type. A plain reduction keeps its sums in
//            double. Integer arithmetic wraps as in XLA.
// Choices:   If XLA allows several results, the evaluator gives these:
//            Integer x / 0 is -1 (all ones), x % 0 is x, and INT_MIN / -1 is INT_MIN.
//            A shift by the width or more gives 0; an arithmetic right shift gives the sign.
//            A float that is out of range saturates when it becomes an integer. NaN becomes 0.
//            Maximum and minimum propagate NaN.
//            Gather and dynamic slices clamp their start. A scatter skips each window that does not fit completely.
//            `conditional` takes its last branch if the index is out of range.
// Threads:   There is no shared state. A call uses only the calling thread.
// Limits:    Live values use at most 8 GiB, and regions nest at most 256 levels deep. Beyond that, a call returns
//            kResourceExhausted.
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

// For graphs with collectives or AxisIndex. `collective` returns the results of such an op on this device.
struct EvaluateOptions {
  int64_t max_loop_iterations = 1'000'000;
  std::function<absl::StatusOr<std::vector<Literal>>(const Graph&, const Op&, std::span<const Literal>)> collective;
};
absl::StatusOr<std::vector<Literal>> EvaluateWith(const EvaluateOptions& options, const Graph& graph,
                                                  std::span<const Literal> arguments);

}  // namespace alpa::graph
