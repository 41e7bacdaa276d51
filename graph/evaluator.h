// The reference: what each op computes, written as plainly as possible, op by op, on whole arrays. Slow on purpose; every
// backend is tested against it. Floats are computed in double and rounded once to the op's type (f32, bf16, f16 results);
// integer arithmetic wraps as XLA's does.
//
// Semantics where XLA leaves room: integer x / 0 is -1 (all ones), x % 0 is x, INT_MIN / -1 is INT_MIN; shifts by the
// width or more give 0 (arithmetic right: the sign); float to integer saturates and NaN gives 0; maximum and minimum
// propagate NaN; gather and dynamic slices clamp their start; a scatter window that does not fit is skipped whole;
// `conditional` takes its last branch for an index out of range. Sums of a plain reduction are taken in double.
// Threads:   no shared state; a call uses the calling thread only.
// Limits:    memory of all live values at most 8 GiB, regions nested at most 256 deep; past it kResourceExhausted.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace alpa::graph {

// REQUIRES: a verified graph without collectives. kInvalidArgument: arguments that do not fit the parameters;
// kUnimplemented: an op that the evaluator lacks; kDeadlineExceeded: `max_loop_iterations` passed in one `while`.
absl::StatusOr<std::vector<Literal>> Evaluate(const Graph& graph, std::span<const Literal> arguments,
                                              int64_t max_loop_iterations = 1'000'000);

// The same op on given operands (one op of `graph`), for constant folding and conformance tests.
absl::StatusOr<std::vector<Literal>> EvaluateOp(const Graph& graph, const Op& op, std::span<const Literal> operands);

// For graphs that hold collectives or AxisIndex: `collective` says what such an op gives on this device.
struct EvaluateOptions {
  int64_t max_loop_iterations = 1'000'000;
  std::function<absl::StatusOr<std::vector<Literal>>(const Graph&, const Op&, std::span<const Literal>)> collective;
};
absl::StatusOr<std::vector<Literal>> EvaluateWith(const EvaluateOptions& options, const Graph& graph,
                                                  std::span<const Literal> arguments);

}  // namespace alpa::graph
