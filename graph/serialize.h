// Converts graphs to and from proto/graph.proto, and computes a fingerprint of a graph.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace alpa::proto { class Graph; }

namespace alpa::graph {

void ToProto(const Graph& graph, proto::Graph* out);
// Returns the graph of a message that may be hostile. Checks everything that Verify checks, with collectives allowed.
// Does not check the group sizes of collectives, because it does not know the mesh.
// Errors: kInvalidArgument for an invalid graph, and for regions that nest too deeply or expand to too many ops.
absl::StatusOr<Graph> FromProto(const proto::Graph& in);
// Returns a 64-bit hash of the graph. It does not depend on locations, nor on whether equal regions share one object.
uint64_t Fingerprint(const Graph& graph);

}  // namespace alpa::graph
