// Checks the rules of the IR: the order of definitions, operand counts, attributes, and result shapes. Verify derives
// every result shape from the operands and compares it with the declared shape. ImportHlo and FromProto call Verify.
// Tests call it after every pass. Code that receives a verified graph does not check shapes again.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"

namespace alpa::graph {

struct VerifyOptions {
  bool allow_collectives = false;
  // The size of each mesh axis. Verify needs the sizes to check the tile shapes of collectives. If the mesh is not
  // known yet, leave this empty. Verify then skips this check, and the code that knows the mesh must call Verify again.
  std::vector<int64_t> mesh_shape;
};

// Returns OK, or kInvalidArgument with a message that names the op, its location, the found value and the expected
// value.
absl::Status Verify(const Graph& graph, const VerifyOptions& options = {});

// Returns the result shapes of an op, derived from its operand shapes, attributes and regions, or kInvalidArgument.
// The project has no other shape rules.
// `declared`: the result shapes that the caller expects. If the operands do not determine the result (Iota, Convert,
// Broadcast, Reshape, the dtype of a Dot, ...), the missing part comes from `declared`.
absl::StatusOr<std::vector<Shape>> InferShapes(Opcode opcode, const std::vector<Shape>& operands,
                                               const Attributes& attrs,
                                               const std::vector<std::shared_ptr<const Graph>>& regions,
                                               const std::vector<Shape>& declared);

}  // namespace alpa::graph
