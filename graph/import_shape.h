// Shapes, literals and source positions of HLO, for graph/import.cc alone.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/import.h"
#include "graph/literal.h"
#include "proto/hlo.pb.h"

namespace alpa::graph::internal {

// The arrays that a possibly nested tuple shape holds, in order; one for an array.
// kUnimplemented: element types and dynamic dimensions that we lack.
absl::StatusOr<std::vector<Shape>> LeafShapes(const hlo::ArrayShape& in, const ImportLimits& limits);
// How many they are.
int64_t LeafCount(const hlo::ArrayShape& in);

absl::StatusOr<Literal> ReadLiteral(const hlo::LiteralValue& in, const ImportLimits& limits);

// "model.py:42", or "" where unknown: the innermost frame outside of libraries.
std::string SourcePosition(const hlo::Metadata& metadata, const hlo::StackFrames& frames);
// Bytes from outside as text that is safe in messages: UTF-8, no control characters, at most 200 characters.
std::string Safe(const std::string& text);

}  // namespace alpa::graph::internal
