// Lists the candidates that differ from a given one by one change.
//
// Model:   Most options change by one step up or down. For pipelines, the simulation suggests additional changes:
//          meshes with a high load get less of the work, the busiest mesh gets devices from the idlest one, and the
//          mesh with the highest load gets another tensor degree. The load of a mesh is its busy time if the candidate
//          fits into memory, otherwise its memory.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "planner/search/search.h"

namespace alpa::planner {

inline constexpr int64_t kMaxMicrobatches = 1024;  // maximum number of microbatches that the search tries

// The options that the user pinned. A default is pinned if PlanOptions::named names it.
struct PinnedOptions {
  explicit PinnedOptions(const PlanOptions& options)
      : data(options.data_parallel > 0), tensor(options.tensor_parallel > 0), microbatches(options.microbatches > 0),
        zero(options.zero > 0), remat(options.remat != "none" || options.named.remat),
        meshes(options.pipeline.meshes > 1 || options.named.meshes), devices(!options.pipeline.devices.empty()),
        sequence(options.sequence), stages(options.pipeline.stages_per_mesh > 1 || options.named.stages_per_mesh),
        schedule(options.pipeline.schedule != PipelineOptions().schedule || options.named.schedule) {}
  bool data, tensor, microbatches, zero, remat, meshes, devices, sequence, stages, schedule;
};

// Returns the options of each neighbour of the candidate. Pinned options keep their values. REQUIRES: candidate.status
// is OK.
std::vector<PlanOptions> Neighbours(const Candidate& candidate, const PinnedOptions& pinned);

}  // namespace alpa::planner
