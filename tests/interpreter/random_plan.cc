#include "tests/interpreter/random_plan.h"

#include <algorithm>
#include <numeric>

#include "base/status.h"
#include "graph/serialize.h"
#include "planner/lower/lower.h"
#include "planner/microbatch/seeds.h"
#include "planner/planner.h"

namespace alpa::testing {

namespace {

class Drawing {
 public:
  Drawing(std::mt19937& random, const graph::Graph& program, const plan::Roles& roles, int devices)
      : random_(random), program_(program), roles_(roles), devices_(devices) {}

  absl::StatusOr<plan::Plan> Draw() {
    plan::Plan plan;
    plan.program_fingerprint = graph::Fingerprint(program_);
    plan.origin = "drawn at random";
    plan.microbatches = int64_t{1} << Below(4);
    const int meshes = 1 + Below(std::min(4, devices_));
    const int stages = meshes == 1 ? 1 : meshes * (1 + Below(2));
    if (Below(3) == 0) plan.remat = plan::Remat::kLayer;
    if (stages > 1) plan.schedule = std::vector<std::string>{"gpipe", "1f1b", "zero-bubble"}[Below(3)];

    // Draw the data and tensor degree of each mesh.
    std::vector<int64_t> data, tensor;
    int left = devices_ - meshes;
    for (int m = 0; m < meshes; ++m) {
      const int most = 1 + left;
      const int size = 1 + Below(most);
      data.push_back(1 + Below(size));
      tensor.push_back(1 + Below(std::max<int>(1, size / static_cast<int>(data.back()))));
      left -= static_cast<int>(data.back() * tensor.back()) - 1;
    }
    const int64_t outer = std::accumulate(data.begin(), data.end(), int64_t{1},
                                          [](int64_t a, int64_t b) { return std::lcm(a, b); });
    const planner::SeedSearch seeds = planner::FindSeeds(
        program_, roles_, std::max<int64_t>(2, outer * plan.microbatches), plan.microbatches > 1, false);
    if (seeds.seeds.empty() && outer * plan.microbatches > 1) {
      return FailedPrecondition("the batch cannot be split into %d chunks", outer * plan.microbatches);
    }
    plan.batch_seeds = seeds.seeds;
    if (!plan.batch_seeds.empty() &&
        !planner::CheckSeeds(program_, roles_, plan.batch_seeds, outer * plan.microbatches).ok()) {
      return FailedPrecondition("the batch cannot be split into %d chunks", outer * plan.microbatches);
    }
    for (plan::Seed& seed : plan.batch_seeds) seed.outer = outer;

    int next = 0;
    std::vector<std::vector<plan::AxisCut>> axes;
    for (int m = 0; m < meshes; ++m) {
      cluster::Mesh& mesh = plan.meshes.emplace_back();
      tiles_.clear();
      for (graph::ValueId v : program_.parameters()) tiles_.push_back(program_.shape(v).dims);
      std::vector<plan::AxisCut>& mine = axes.emplace_back();
      if (data[m] > 1) mine.push_back(DataAxis(mesh, data[m], plan.batch_seeds));
      if (tensor[m] > 1) mine.push_back(TensorAxis(mesh, tensor[m]));
      for (int64_t i = 0; i < data[m] * tensor[m]; ++i) mesh.devices.push_back(DeviceId(next++));
    }
    for (int s = 0; s < stages; ++s) {
      plan::StagePlan& stage = plan.stages.emplace_back();
      stage.mesh = MeshId(s < meshes ? s : Below(meshes));
      stage.axes = axes[stage.mesh.value()];
    }
    if (stages > 1 && Below(2) == 0) ALPA_RETURN_IF_ERROR(DrawCuts(plan));
    ALPA_RETURN_IF_ERROR(planner::Complete(plan, program_, roles_));
    return plan;
  }

 private:
  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  plan::AxisCut Axis(cluster::Mesh& mesh, const std::string& name, int64_t size) {
    plan::AxisCut axis;
    axis.mesh_axis = static_cast<int64_t>(mesh.shape.size());
    mesh.shape.push_back(size);
    mesh.axis_names.push_back(name);
    return axis;
  }

  // Cuts random state leaves along random dimensions. A dimension that the axis does not divide is cut only if no other
  // axis cuts this dimension.
  void CutLeaves(plan::AxisCut& axis, int64_t size, int one_in, plan::CutRank rank) {
    for (size_t p = 0; p < tiles_.size(); ++p) {
      if (roles_.inputs[p].kind != plan::InputRole::Kind::kState || Below(one_in) != 0) continue;
      std::vector<int64_t> possible = {-1};
      for (size_t d = 0; d < tiles_[p].size(); ++d) {
        const bool uncut = tiles_[p][d] == program_.shape(program_.parameters()[p]).dims[d];
        if (tiles_[p][d] > 0 && (tiles_[p][d] % size == 0 || uncut)) possible.push_back(static_cast<int64_t>(d));
      }
      const int64_t dim = possible[Below(static_cast<int>(possible.size()))];
      if (dim >= 0) tiles_[p][dim] = tiles_[p][dim] % size == 0 ? tiles_[p][dim] / size : 0;  // 0: cannot be cut
      axis.cuts.push_back({static_cast<int32_t>(p), dim, rank});
    }
  }

  plan::AxisCut DataAxis(cluster::Mesh& mesh, int64_t size, const std::vector<plan::Seed>& seeds) {
    plan::AxisCut axis = Axis(mesh, "data", size);
    for (const plan::Seed& seed : seeds) {
      axis.cuts.push_back({seed.leaf, seed.dim, plan::CutRank::kBatch});
      tiles_[seed.leaf][seed.dim] /= size;
    }
    if (Below(2) == 0) {
      axis.reduce_scatter_from = 1 + Below(64);
      axis.shard_accumulators = Below(2) == 0;
      if (Below(2) == 0) {
        std::vector<plan::Cut> batch = axis.cuts;
        CutLeaves(axis, size, 2, plan::CutRank::kStored);
        // An axis may name a leaf only once.
        std::erase_if(axis.cuts, [&](const plan::Cut& cut) {
          return cut.rank == plan::CutRank::kStored &&
                 std::any_of(batch.begin(), batch.end(), [&](const plan::Cut& b) { return b.leaf == cut.leaf; });
        });
      }
    }
    return axis;
  }

  plan::AxisCut TensorAxis(cluster::Mesh& mesh, int64_t size) {
    plan::AxisCut axis = Axis(mesh, "tensor", size);
    CutLeaves(axis, size, 1 + Below(3), Below(4) == 0 ? plan::CutRank::kStored : plan::CutRank::kPinned);
    for (size_t p = 0; p < tiles_.size() && Below(2) == 0; ++p) {
      if (roles_.inputs[p].kind != plan::InputRole::Kind::kBatch || tiles_[p].empty()) continue;
      const int64_t dim = Below(static_cast<int>(tiles_[p].size()));
      if (tiles_[p][dim] > 0 && tiles_[p][dim] % size == 0) {
        axis.reduce_scatter_along.push_back({static_cast<int32_t>(p), dim, plan::CutRank::kStored});
      }
    }
    return axis;
  }

  // Draws stage cuts from the first third of the ops of the largest stage program. Ignores the number of live bytes at
  // a cut.
  absl::Status DrawCuts(plan::Plan& plan) {
    ALPA_ASSIGN_OR_RETURN(const plan::Executable unstaged, planner::LowerInLoops(plan, program_, roles_));
    int largest = 0;
    for (const plan::StageProgram& program : unstaged.programs) largest = std::max(largest, program.graph.size());
    if (largest <= static_cast<int>(plan.stages.size())) {
      return FailedPrecondition("the program has too few ops for %d stages", plan.stages.size());
    }
    while (plan.stage_cuts.size() + 1 < plan.stages.size()) {
      const int64_t cut = 1 + Below(largest / 3);
      if (std::find(plan.stage_cuts.begin(), plan.stage_cuts.end(), cut) != plan.stage_cuts.end()) {
        if (++tries_ > 1000) return FailedPrecondition("the program has too few ops for %d stages", plan.stages.size());
        continue;
      }
      plan.stage_cuts.push_back(cut);
    }
    std::sort(plan.stage_cuts.begin(), plan.stage_cuts.end());
    return absl::OkStatus();
  }

  std::mt19937& random_;
  const graph::Graph& program_;
  const plan::Roles& roles_;
  const int devices_;
  std::vector<std::vector<int64_t>> tiles_;  // one entry per leaf: the dims of its tile on the mesh that is being drawn
  int tries_ = 0;
};

}  // namespace

absl::StatusOr<plan::Plan> RandomPlan(std::mt19937& random, const graph::Graph& program, const plan::Roles& roles,
                                      int devices) {
  return Drawing(random, program, roles, devices).Draw();
}

}  // namespace alpa::testing
