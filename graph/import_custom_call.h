// Imports HLO instructions that become several ops or none: top-k and custom calls.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/builder.h"
#include "proto/hlo.pb.h"

namespace alpa::graph::internal {

// Adds ops that compute the k largest (or smallest) elements along the last dimension, and returns the sorted elements
// and their indices. Equal elements keep the order of their indices.
absl::StatusOr<std::vector<ValueId>> EmitTopK(const std::vector<ValueId>& operands, bool largest,
                                              const std::vector<Shape>& declared, const std::string& location,
                                              GraphBuilder& builder);

// Adds the ops of a custom call and returns the results. For an annotation, such as a sharding, returns the operands.
// Errors: kUnimplemented for any other target.
absl::StatusOr<std::vector<ValueId>> EmitCustomCall(const hlo::Instruction& in,
                                                    const std::vector<ValueId>& operands,
                                                    const std::vector<Shape>& declared,
                                                    const std::string& location, GraphBuilder& builder);

}  // namespace alpa::graph::internal
