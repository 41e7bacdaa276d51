// Uses the reference evaluator for ops that have no other kernel. This is correct, but slow.
#include <cstring>

#include "base/status.h"
#include "graph/evaluator.h"
#include "kernels/cpu/ops.h"

namespace alpa::kernels::cpu {

absl::StatusOr<BuiltKernel> BuildWithEvaluator(const OpContext& context) {
  BuiltKernel kernel;
  kernel.kind = "evaluator";
  kernel.run = [c = context](const Frame& frame) -> absl::Status {
    std::vector<graph::Literal> operands;
    for (size_t i = 0; i < c.in.size(); ++i) {
      const std::byte* data = frame.slots[c.in[i]];
      operands.emplace_back(c.in_shape(i), std::vector<std::byte>(data, data + c.in_shape(i).bytes()));
    }
    absl::StatusOr<std::vector<graph::Literal>> results = graph::EvaluateOp(*c.graph, *c.op, operands);
    if (!results.ok()) return Annotate(results.status(), c.Where());
    for (size_t i = 0; i < c.out.size(); ++i) {
      const std::span<const std::byte> bytes = (*results)[i].bytes();
      if (!bytes.empty()) std::memcpy(frame.slots[c.out[i]], bytes.data(), bytes.size());
    }
    return absl::OkStatus();
  };
  return kernel;
}

}  // namespace alpa::kernels::cpu
