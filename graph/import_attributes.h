// Reads the attributes of one HLO instruction. Only graph/import*.cc use this file.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "proto/hlo.pb.h"

namespace alpa::graph::internal {

// Returns the attributes. Only InferShapes checks that the attributes match the operands. Returns no attributes for
// constants and parameters, because the importer handles these two ops itself.
absl::StatusOr<Attributes> ReadAttributes(Opcode opcode, const hlo::Instruction& in);

}  // namespace alpa::graph::internal
