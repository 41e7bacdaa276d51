// Reads the attributes of one HLO instruction. Only graph/import*.cc use this file.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "proto/hlo.pb.h"

namespace alpa::graph::internal {

// Returns the attributes without checking that they match the operands; InferShapes checks this. Returns no attributes
// for constants and parameters, because the importer reads them itself.
absl::StatusOr<Attributes> ReadAttributes(Opcode opcode, const hlo::Instruction& in);

}  // namespace alpa::graph::internal
