// HLO that is one instruction there and several ops here, or none: top-k, annotations.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/builder.h"
#include "proto/hlo.pb.h"

namespace alpa::graph::internal {

// The k largest (or smallest) of the last dimension, sorted, with their indices; equal values in order of
// index.
absl::StatusOr<std::vector<ValueId>> EmitTopK(const std::vector<ValueId>& operands, bool largest,
                                              const std::vector<Shape>& declared, const std::string& location,
                                              GraphBuilder& builder);

// kUnimplemented for targets that mean nothing to us.
absl::StatusOr<std::vector<ValueId>> EmitCustomCall(const hlo::Instruction& in,
                                                    const std::vector<ValueId>& operands,
                                                    const std::vector<Shape>& declared,
                                                    const std::string& location, GraphBuilder& builder);

}  // namespace alpa::graph::internal
