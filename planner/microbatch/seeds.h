// Finds which dimension of which input is the batch, when the user does not say.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "planner/microbatch/analysis.h"

namespace alpa::planner {

struct SeedSearch {
  std::vector<plan::Seed> seeds;   // empty: nothing can be cut in so many chunks
  AxisAnalysis analysis;           // with them
};

// Tries each dimension of each batch leaf that `chunks` divides; leaves of which only matching slices are read follow it.
// The best cuts the most matrix-product FLOPs with the fewest couplings (where `avoid_couplings`).
SeedSearch FindSeeds(const graph::Graph& program, const plan::Roles& roles, int64_t chunks, bool avoid_couplings,
                     bool local_statistics);

}  // namespace alpa::planner
