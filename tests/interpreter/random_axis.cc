#include "tests/interpreter/random_axis.h"

namespace alpa::testing {

planner::AxisRequest RandomAxis(std::mt19937& random, const plan::Executable& executable, const std::string& name) {
  planner::AxisRequest request;
  request.mesh = MeshId(0);
  request.name = name;
  request.size = random() % 3 == 0 ? 3 : 2;
  for (int i = 0; i < executable.meshes[0].size() * request.size; ++i) request.devices.push_back(DeviceId(i));
  if (random() % 3 == 0) request.reduce_scatter_from = 1;
  request.shard_accumulators = request.reduce_scatter_from > 0 && random() % 2 == 0;
  for (const plan::Slot& slot : executable.mesh_programs[0].slots) {
    if (slot.kind != plan::Slot::Kind::kState && slot.kind != plan::Slot::Kind::kInput) continue;
    if (random() % 2 == 0) continue;
    const auto& dims = slot.shape.dims;
    std::vector<int64_t> possible = {-1};
    for (size_t d = 0; d < dims.size(); ++d) {
      if (planner::CanSplit(dims, static_cast<int64_t>(d), 1, request.size)) {
        possible.push_back(static_cast<int64_t>(d));
      }
    }
    const int64_t dim = possible[random() % possible.size()];
    request.cuts.push_back({slot.leaf, dim, static_cast<plan::CutRank>(random() % 3)});
  }
  return request;
}

}  // namespace alpa::testing
