// Splits a step along one axis without being told where its forward, backward or loss is: which values are the same for
// every chunk, which are cut, which are sums over chunks, and in which order of phases they can be had.
//
// Model:   A program alternates between `once` segments, which compute replicated values, and `loop` segments, which are
//          executed for each chunk:  once 0, loop 0, once 1, loop 1, ..., once L.  What a later segment needs whole of a
//          loop's split or partial values is their *truth*: an accumulation over the chunks of loop t-1 that is finished
//          at the start of once t. A gradient is a partial of the last loop; a masked mean's token count one of an earlier
//          loop, cheap to have.
// Cost:    a value that two loops need is computed in both (nothing is saved across). Where that would repeat a matrix
//          product, the program is *coupled* along this axis: batch normalisation, a contrastive loss.
// Source:  Alpa (OSDI'22) asks the user for a grad marker instead; the propagation is GSPMD's, in one dimension.
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
  graph::ValueId statistic;   // the split or partial value whose truth is wanted
  graph::OpId consumer;       // by this op
  graph::OpId repeated;       // which makes this op (a matrix product) run in two loops
};

struct AxisAnalysis {
  int64_t chunks = 1;
  int loops = 0;                                // L
  std::vector<AxisState> states;                // by value
  std::vector<OpRule> rules;                    // by op
  std::vector<bool> zero;                       // by value: known to be zero everywhere
  // By value; -1 where not needed. Replicated values: the once segment that computes them, the latest possible.
  // Split and partial ones: the first loop that needs them.
  std::vector<int> segment;
  std::vector<int> full_in;                       // by value: once segment where its truth is finished; -1: nowhere
  std::vector<bool> local;                      // by value: a statistic that each chunk takes from itself alone
  std::vector<bool> chunk_local;                // by value: replicated, but loops use a version made from local statistics
  std::vector<bool> split_result;               // by graph result: stays split (over the seed-like dimension) at the end
  std::vector<Coupling> couplings;              // not empty: coupled
  Flops split_flops = 0;                        // of matrix products that are cut
  Flops total_flops = 0;                        // of all matrix products

  RuleContext Context(const graph::Graph& program) const;
};

struct AnalysisOptions {
  int64_t chunks = 1;
  std::vector<plan::Seed> seeds;
  // Where a coupled statistic is taken from each chunk alone instead of refused (plan::Statistics::kLocal).
  bool local_statistics = false;
  // Split results are wanted whole: their chunks are not where a tile of the result would be.
  bool gather_results = false;
};

// Numbers of chunks that tell how a program would be split, where it is not: with a single chunk any dimension would do.
inline constexpr int64_t kProbeChunks[] = {2, 3, 5, 7};

// REQUIRES: a verified program and role table; seeds that divide (CheckSeeds).
AxisAnalysis Analyse(const graph::Graph& program, const plan::Roles& roles, const AnalysisOptions& options);

// OK where each seed names an input dimension that `chunks` divides, and a state leaf's result can be cut likewise.
absl::Status CheckSeeds(const graph::Graph& program, const plan::Roles& roles, const std::vector<plan::Seed>& seeds,
                        int64_t chunks);

// For people: which op couples the chunks, where, and what would work.
absl::Status CouplingError(const graph::Graph& program, const AxisAnalysis& analysis);

}  // namespace alpa::planner
