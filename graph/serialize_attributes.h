// Converts shapes and attributes to and from proto/graph.proto. Only graph/serialize.cc uses this file.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "proto/graph.pb.h"

namespace alpa::graph::internal {

void ShapeToProto(const Shape& shape, proto::Shape* out);
// Checks the element type and the rank, that dimensions are >= 0, and that the size in bytes fits in 64 bits.
absl::StatusOr<Shape> ShapeFromProto(const proto::Shape& in);
void AttributesToProto(const Attributes& attrs, proto::GraphOp* out);
// Checks each attribute alone. Verify checks that the attributes match the op.
absl::StatusOr<Attributes> AttributesFromProto(const proto::GraphOp& in);

}  // namespace alpa::graph::internal
