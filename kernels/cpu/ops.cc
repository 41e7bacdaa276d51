#include "kernels/cpu/ops.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace alpa::kernels::cpu {

std::string OpContext::Where() const {
  const std::string location = graph->location(*op);
  return location.empty() ? std::string(graph::NameOf(op->opcode))
                          : absl::StrCat(graph::NameOf(op->opcode), " at ", location);
}

absl::StatusOr<BuiltKernel> BuildOp(const OpContext& context) {
  for (auto* build : {&BuildControl, &BuildCollective, &BuildDot, &BuildConvolution, &BuildMovement,
                      &BuildGatherOrScatter, &BuildReduce, &BuildReduceWindow, &BuildWithEvaluator}) {
    ALPA_ASSIGN_OR_RETURN(BuiltKernel kernel, build(context));
    if (kernel.run) return kernel;
  }
  return Unimplemented("the cpu backend has no kernel for %s", context.Where());
}

}  // namespace alpa::kernels::cpu
