#include "planner/request.h"

#include <algorithm>
#include <set>

#include "base/status.h"

namespace alpa::planner {
namespace {

absl::StatusOr<std::vector<plan::Cut>> TensorCutsOf(const proto::PlanRequest& request, const graph::Graph& program,
                                                    const plan::Roles& roles) {
  std::vector<plan::Cut> cuts;
  std::set<int32_t> seen;
  for (const proto::TensorCut& cut : request.tensor_cuts()) {
    if (cut.leaf() < 0 || cut.leaf() >= static_cast<int32_t>(roles.inputs.size())) {
      return InvalidArgument("a tensor cut names input %d of %d", cut.leaf(), roles.inputs.size());
    }
    const plan::InputRole& role = roles.inputs[cut.leaf()];
    if (role.kind != plan::InputRole::Kind::kState) {
      return InvalidArgument("a tensor cut names %s, which is a batch leaf", role.path);
    }
    const graph::Shape& shape = program.shape(program.parameters()[cut.leaf()]);
    if (cut.dim() < -1 || cut.dim() >= shape.rank()) {
      return InvalidArgument("a tensor cut names dimension %d of %s, which is %s", cut.dim(), role.path,
                             shape.ToString());
    }
    if (!seen.insert(cut.leaf()).second) return InvalidArgument("two tensor cuts name %s", role.path);
    cuts.push_back({cut.leaf(), cut.dim(), plan::CutRank::kPinned});
  }
  if (!cuts.empty() && request.tensor_parallel() < 2) {
    return InvalidArgument("%d tensor cuts, but tensor_parallel=%d", cuts.size(), request.tensor_parallel());
  }
  return cuts;
}

}  // namespace

absl::StatusOr<PlanOptions> OptionsOf(const proto::PlanRequest& request, const graph::Graph& program,
                                      const plan::Roles& roles) {
  PlanOptions options;
  options.devices = request.devices();
  options.data_parallel = request.data_parallel();
  options.microbatches = request.microbatches();
  options.tensor_parallel = request.tensor_parallel();
  options.zero = request.zero();
  options.statistics = static_cast<plan::Statistics>(request.statistics());
  for (const proto::Seed& seed : request.batch_dims()) options.batch_dims.push_back({seed.leaf(), seed.dim()});
  const proto::Pipeline& pipeline = request.pipeline();
  options.pipeline.meshes = std::max(1, pipeline.meshes());
  options.pipeline.stages_per_mesh = std::max(1, pipeline.stages_per_mesh());
  if (!pipeline.schedule().empty()) options.pipeline.schedule = pipeline.schedule();
  options.pipeline.devices.assign(pipeline.devices().begin(), pipeline.devices().end());
  options.sequence = request.sequence();
  if (!request.remat().empty()) options.remat = request.remat();
  ALPA_ASSIGN_OR_RETURN(options.tensor_cuts, TensorCutsOf(request, program, roles));
  return options;
}

}  // namespace alpa::planner
