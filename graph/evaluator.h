// The reference: what each op computes, written as plainly as possible, op by op, on whole arrays. Slow on purpose; every
// backend is tested against it. Floats are computed in double and rounded once to the op's type (f32, bf16, f16 results);
// integer arithmetic wraps as XLA's does.
#pragma once

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

}  // namespace alpa::graph
