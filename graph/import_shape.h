// Reads shapes, literals and source positions of HLO. Only graph/import*.cc use this file.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/import.h"
#include "graph/literal.h"
#include "proto/hlo.pb.h"

namespace alpa::graph::internal {

// Returns the shapes of all arrays in a shape, in order. A shape is one array, or a tuple of shapes.
// Errors: kUnimplemented for an unsupported element type or a dynamic dimension. kInvalidArgument for a shape that is
//         malformed or too large.
absl::StatusOr<std::vector<Shape>> LeafShapes(const hlo::ArrayShape& in, const ImportLimits& limits);
// Returns the number of arrays that LeafShapes returns for the shape.
int64_t LeafCount(const hlo::ArrayShape& in);

absl::StatusOr<Literal> ReadLiteral(const hlo::LiteralValue& in, const ImportLimits& limits);

// Returns the position of the innermost stack frame outside of libraries, such as "model.py:42". If all frames are in
// libraries, returns the position of the innermost frame. Returns "" if unknown.
std::string SourcePosition(const hlo::Metadata& metadata, const hlo::StackFrames& frames);
// Returns text from the input in a form that is safe in messages: valid UTF-8 without control characters, cut after 200
// bytes of input.
std::string Safe(const std::string& text);

}  // namespace alpa::graph::internal
