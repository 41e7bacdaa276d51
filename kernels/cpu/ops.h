// The kernels of single ops, by family. Each function gives the kernel of an op that its family has, and an empty one
// (`run` not set) for what it leaves to the next: BuildOp tries the fast ones first and the reference evaluator last.
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
absl::StatusOr<BuiltKernel> BuildReduce(const OpContext& context);       // argmax and other combiners; plain ones fuse
absl::StatusOr<BuiltKernel> BuildReduceWindow(const OpContext& context);
absl::StatusOr<BuiltKernel> BuildWithEvaluator(const OpContext& context);

}  // namespace alpa::kernels::cpu
