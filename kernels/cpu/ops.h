// Builds the kernels of single ops. Each function below builds the kernel of an op of its family. If the function does
// not handle the op, it returns an empty kernel (`run` not set), and BuildOp tries the next function. BuildOp tries the
// fast families first and the reference evaluator last.
#pragma once

#include "kernels/cpu/kernel.h"

namespace alpa::kernels::cpu {

absl::StatusOr<BuiltKernel> BuildOp(const OpContext& context);

absl::StatusOr<BuiltKernel> BuildControl(const OpContext& context);  // while, conditional
absl::StatusOr<BuiltKernel> BuildCollective(const OpContext& context);
absl::StatusOr<BuiltKernel> BuildDot(const OpContext& context);
absl::StatusOr<BuiltKernel> BuildConvolution(const OpContext& context);
absl::StatusOr<BuiltKernel> BuildMovement(const OpContext& context);  // broadcast, transpose, pad, dynamic-slice, ...
absl::StatusOr<BuiltKernel> BuildGatherOrScatter(const OpContext& context);
absl::StatusOr<BuiltKernel> BuildReduce(const OpContext& context);  // argmax, and combiners of several ops
absl::StatusOr<BuiltKernel> BuildReduceWindow(const OpContext& context);
absl::StatusOr<BuiltKernel> BuildWithEvaluator(const OpContext& context);

}  // namespace alpa::kernels::cpu
