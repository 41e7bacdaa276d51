// Analyses a step along one axis: which values are replicated, split or partial, and in which phase each value can be
// computed. The analysis does not need to know where the step's forward, backward or loss is.
//
// Model:   A program alternates between *once* segments, which compute replicated values, and *loop* segments, which
//          run once per chunk:  once 0, loop 0, once 1, loop 1, ..., once L.  If a later segment needs the full value
//          of a split or partial value of loop t-1, the chunks of loop t-1 accumulate it. The full value is complete
//          at the start of once t. For example, a gradient is a partial value of the last loop. The token count of a
//          masked mean is a partial value of an earlier loop, which is cheap.
// Cost:    A value that two loops need is computed in both loops, because nothing is saved between loops. If this would
//          repeat a matrix product, the program is *coupled* along this axis. Examples are batch normalisation and
//          contrastive losses.
// Source:  Alpa (OSDI'22) asks the user for a grad marker instead. The propagation follows GSPMD, in one dimension.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/plan.h"
#include "planner/strategy/rules.h"

namespace alpa::planner {

// A statistic over all chunks that feeds back into each of them.
struct Coupling {
  graph::ValueId statistic;   // the split or partial value whose full value is needed
  graph::OpId consumer;       // the op that needs the full value
  graph::OpId repeated;       // a matrix product that therefore runs in two loops
};

struct AxisAnalysis {
  int64_t chunks = 1;
  int loops = 0;                                // L: the number of loop segments
  std::vector<AxisState> states;                // one entry per value
  std::vector<OpRule> rules;                    // one entry per op
  std::vector<bool> zero;                       // one entry per value: whether it is known to be zero everywhere
  // One entry per value; -1: the value is not needed. For a replicated value: the once segment that computes it, as
  // late as possible. For a split or partial value: the first loop that needs it.
  std::vector<int> segment;
  std::vector<int> full_in;                     // one entry per value: once segment of its full value; -1: none
  std::vector<bool> local;                      // one entry per value: whether each microbatch has its own statistic
  std::vector<bool> chunk_local;                // one entry per value: loops use a version with local statistics
  std::vector<bool> split_result;               // one entry per graph result: whether it stays split after the step
  std::vector<Coupling> couplings;              // not empty: the program is coupled
  Flops split_flops = 0;                        // FLOPs of the matrix products that are split
  Flops total_flops = 0;                        // FLOPs of all matrix products

  RuleContext Context(const graph::Graph& program) const;
};

struct AnalysisOptions {
  int64_t chunks = 1;
  std::vector<plan::Seed> seeds;
  // If true, each microbatch computes coupled statistics from its own examples (plan::Statistics::kLocal). Only a
  // statistic that is a partial value can be computed in this way. All other coupled statistics stay in `couplings`.
  bool local_statistics = false;
  // If true, no result stays split. This is needed if the chunks of one device do not form one tile of the result.
  bool gather_results = false;
};

// If a step runs as a single chunk, its analysis assumes another number of chunks: the first of these numbers that
// divides the batch. With one chunk, every dimension could be split.
inline constexpr int64_t kProbeChunks[] = {2, 3, 5, 7};

// Analyses `program` along the axis that `options` describes.
// REQUIRES: a verified program and role table, and seeds that CheckSeeds accepts.
AxisAnalysis Analyse(const graph::Graph& program, const plan::Roles& roles, const AnalysisOptions& options);

// Returns OK if the seeds name different inputs, and if each seed's dimension is divisible by `outer` x `chunks`.
// Otherwise returns kInvalidArgument.
absl::Status CheckSeeds(const graph::Graph& program, const plan::Roles& roles, const std::vector<plan::Seed>& seeds,
                        int64_t chunks);

// Returns kFailedPrecondition. The human-readable message names the op that couples the chunks, its place in the user's
// source, and the alternatives. REQUIRES: analysis.couplings is not empty.
absl::Status CouplingError(const graph::Graph& program, const AxisAnalysis& analysis);

}  // namespace alpa::planner
