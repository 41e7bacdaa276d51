// What a program with collectives computes on every device of a mesh, by the reference evaluator: the devices
// go from collective to collective in step, and each collective is worked out from everybody's operands by
// its definition in graph/graph.h.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace alpa::conformance {

// arguments[d] are device d's (row-major in `mesh_shape`), and so are the results.
// REQUIRES: every device comes to the same collectives in the same order.
absl::StatusOr<std::vector<std::vector<graph::Literal>>> SpmdEvaluate(
    const graph::Graph& graph, const std::vector<int64_t>& mesh_shape,
    const std::vector<std::vector<graph::Literal>>& arguments);

}  // namespace alpa::conformance
