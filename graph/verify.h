// The rules of the IR, checked: order of definitions, operand counts, attributes, and every result shape re-derived from
// its operands. Called after import and after every pass in tests; nothing downstream re-checks shapes.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"

namespace alpa::graph {

struct VerifyOptions {
  bool allow_collectives = false;
  // Sizes of the mesh's axes, to check collectives' tile shapes. Empty: the mesh is not known yet, and group sizes are
  // not checked; whoever knows it verifies again.
  std::vector<int64_t> mesh_shape;
};

// OK, or kInvalidArgument naming op, location, found and expected.
absl::Status Verify(const Graph& graph, const VerifyOptions& options = {});

// Result shapes of an op from its operands' shapes, attributes and regions: the one shape table of the project.
absl::StatusOr<std::vector<Shape>> InferShapes(Opcode opcode, const std::vector<Shape>& operands,
                                               const Attributes& attrs,
                                               const std::vector<std::shared_ptr<const Graph>>& regions,
                                               const std::vector<Shape>& declared);

}  // namespace alpa::graph
