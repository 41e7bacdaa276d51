// The attributes of one HLO instruction, for graph/import*.cc alone.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "proto/hlo.pb.h"

namespace alpa::graph::internal {

// As read; whether they suit the operands is for InferShapes. Constants and parameters are the importer's
// own.
absl::StatusOr<Attributes> ReadAttributes(Opcode opcode, const hlo::Instruction& in);

}  // namespace alpa::graph::internal
