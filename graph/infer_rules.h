// Shape rules of op families. Only InferShapes (graph/verify.h) calls them. Each rule returns the result shape, or
// kInvalidArgument with the cause. The caller adds the op's name.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace alpa::graph::internal {

using Shapes = std::vector<Shape>;

// infer_movement.cc
absl::StatusOr<Shape> InferBroadcast(const Shape& operand, const DimsAttrs& attrs, const Shape& declared);
absl::StatusOr<Shape> InferConcatenate(const Shapes& operands, const DimsAttrs& attrs);
absl::StatusOr<Shape> InferDynamicSlice(const Shapes& operands, const DynamicSliceAttrs& attrs);
absl::StatusOr<Shape> InferDynamicUpdateSlice(const Shapes& operands);
absl::StatusOr<Shape> InferPad(const Shapes& operands, const PadAttrs& attrs);
absl::StatusOr<Shape> InferReshape(const Shape& operand, const Shape& declared);
absl::StatusOr<Shape> InferReverse(const Shape& operand, const DimsAttrs& attrs);
absl::StatusOr<Shape> InferSlice(const Shape& operand, const SliceAttrs& attrs);
absl::StatusOr<Shape> InferTranspose(const Shape& operand, const DimsAttrs& attrs);
absl::StatusOr<Shape> InferBitcastConvert(const Shape& operand, const Shape& declared);

// infer_gather.cc
absl::StatusOr<Shape> InferGather(const Shapes& operands, const GatherAttrs& attrs);
absl::StatusOr<Shapes> InferScatter(const Shapes& operands, const ScatterAttrs& attrs, const Graph& region);

// infer_window.cc
absl::StatusOr<Shape> InferDot(const Shapes& operands, const DotAttrs& attrs, DType result);
absl::StatusOr<Shape> InferConvolution(const Shapes& operands, const ConvolutionAttrs& attrs, DType result);
absl::StatusOr<Shapes> InferReduce(const Shapes& operands, const DimsAttrs& attrs, const Graph& region);
absl::StatusOr<Shapes> InferReduceWindow(const Shapes& operands, const WindowAttrs& attrs,
                                         const Graph& region);
absl::StatusOr<Shape> InferSelectAndScatter(const Shapes& operands, const WindowAttrs& attrs,
                                            const Graph& select, const Graph& scatter);

// Checks that every entry is in [0, rank) and that none occurs twice. `what` names the entries in the error.
absl::Status CheckDims(const std::vector<int64_t>& dims, int64_t rank, const char* what);
// Checks that `region` has exactly these parameter and result shapes. `what` names the region in the error.
absl::Status CheckRegion(const Graph& region, const Shapes& parameters, const Shapes& results,
                         const char* what);
std::string Join(const std::vector<int64_t>& numbers);  // "{1,2}"

}  // namespace alpa::graph::internal
