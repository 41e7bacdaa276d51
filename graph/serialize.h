// Graphs on the wire and in plan files: proto/graph.proto, and a 64-bit fingerprint that does not depend on locations.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace alpa::proto { class Graph; }

namespace alpa::graph {

void ToProto(const Graph& graph, proto::Graph* out);
// Checks everything that Verify checks (collectives allowed where `mesh_shape` is given by the message's user).
absl::StatusOr<Graph> FromProto(const proto::Graph& in);
// Equal for graphs that compute the same thing op by op; 16 hex digits as text.
uint64_t Fingerprint(const Graph& graph);

}  // namespace alpa::graph
