// What is one change away from a candidate of the search.
//
// Model:   the simulation says what is worth trying. A mesh that is busier than others (or, where nothing fits, holds more) gets less of
//          the work, a device more, or other ways of cutting its weights.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/search/search.h"

namespace alpa::planner {

inline constexpr int64_t kMaxMicrobatches = 1024;  // that are tried

// What the user said, against what is open.
struct PinnedOptions {
  explicit PinnedOptions(const PlanOptions& options)
      : data(options.data_parallel > 0), tensor(options.tensor_parallel > 0), microbatches(options.microbatches > 0),
        zero(options.zero > 0), remat(options.remat != "none" || options.named.remat),
        meshes(options.pipeline.meshes > 1 || options.named.meshes), devices(!options.pipeline.devices.empty()),
        sequence(options.sequence), stages(options.pipeline.stages_per_mesh > 1 || options.named.stages_per_mesh),
        schedule(options.pipeline.schedule != PipelineOptions().schedule || options.named.schedule) {}
  bool data, tensor, microbatches, zero, remat, meshes, devices, sequence, stages, schedule;
};

// `candidate` is a plan. Only what is not pinned differs.
std::vector<PlanOptions> Neighbours(const Candidate& candidate, const PinnedOptions& pinned);

}  // namespace alpa::planner
