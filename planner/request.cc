#include "planner/request.h"

#include <algorithm>

namespace alpa::planner {

PlanOptions OptionsOf(const proto::PlanRequest& request) {
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
  options.named = {.schedule = !pipeline.schedule().empty(),
                   .remat = !request.remat().empty(),
                   .meshes = pipeline.meshes() > 0,
                   .stages_per_mesh = pipeline.stages_per_mesh() > 0};
  for (const proto::TensorCut& cut : request.tensor_cuts()) {
    options.tensor_cuts.push_back({cut.leaf(), cut.dim(), plan::CutRank::kPinned});
  }
  return options;
}

}  // namespace alpa::planner
