// Shapes and attributes to and from proto/graph.proto, for graph/serialize.cc alone.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "proto/graph.pb.h"

namespace alpa::graph::internal {

void ShapeToProto(const Shape& shape, proto::Shape* out);
// Checks element type, dimensions >= 0 and that the bytes fit in 64 bits.
absl::StatusOr<Shape> ShapeFromProto(const proto::Shape& in);
void AttributesToProto(const Attributes& attrs, proto::GraphOp* out);
// Well-formed one by one; whether they suit the op is for Verify.
absl::StatusOr<Attributes> AttributesFromProto(const proto::GraphOp& in);

}  // namespace alpa::graph::internal
