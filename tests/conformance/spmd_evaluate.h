// Evaluates a program on all devices of a mesh with the reference evaluator. The program may contain collectives. Each
// device runs in a thread, and the threads meet at every collective. At a collective, the result on each device is
// computed by the definition in graph/graph.h, from the operands of all devices of the group.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace alpa::conformance {

// Returns one list of results per device. arguments[d] and element `d` of the returned vector belong to device `d`.
// Devices are counted row-major in `mesh_shape`. Errors: those of the evaluator. REQUIRES: every device reaches the
// same collectives in the same order.
absl::StatusOr<std::vector<std::vector<graph::Literal>>> SpmdEvaluate(
    const graph::Graph& graph, const std::vector<int64_t>& mesh_shape,
    const std::vector<std::vector<graph::Literal>>& arguments);

}  // namespace alpa::conformance
