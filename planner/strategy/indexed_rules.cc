#include <algorithm>

#include "planner/strategy/rules.h"

namespace alpa::planner {

bool IndexesAlong(const graph::Graph& program, const graph::Op& op, int64_t dim) {
  auto contains = [dim](const std::vector<int64_t>& dims) {
    return std::find(dims.begin(), dims.end(), dim) != dims.end();
  };
  if (op.results.size() != 1) return false;
  if (op.opcode == graph::Opcode::kGather) {
    const auto& attrs = op.as<graph::GatherAttrs>();
    return contains(attrs.start_index_map) && attrs.slice_sizes[dim] == 1 &&
           program.shape(op.results[0]).dtype != graph::DType::kPred;
  }
  const auto& attrs = op.as<graph::ScatterAttrs>();
  return contains(attrs.scatter_dims_to_operand_dims) && contains(attrs.inserted_window_dims);
}

}  // namespace alpa::planner
