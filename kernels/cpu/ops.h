// The kernels of single ops, by family. Each function returns the kernel of an op of its family. It returns an empty
// kernel (`run` not set) for an op that it leaves to the next function. BuildOp tries the fast families first and the
// reference evaluator last.
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
absl::StatusOr<BuiltKernel> BuildReduce(const OpContext& context);  // argmax, other combiners; single-op ones are fused
absl::StatusOr<BuiltKernel> BuildReduceWindow(const OpContext& context);
absl::StatusOr<BuiltKernel> BuildWithEvaluator(const OpContext& context);

}  // namespace alpa::kernels::cpu
