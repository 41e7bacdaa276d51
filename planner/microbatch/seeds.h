// Finds the batch dimension of each input, if the user does not specify it.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "planner/microbatch/analysis.h"

namespace alpa::planner {

struct SeedSearch {
  std::vector<plan::Seed> seeds;   // empty: no dimension of a batch leaf is divisible by the number of chunks
  AxisAnalysis analysis;           // the analysis of the program with these seeds
};

// Tries each dimension of a batch leaf if `chunks` divides the size of the dimension. An input becomes a seed, too, if
// each chunk reads only its own slice of the input. Returns the seeds that split the most matrix-product FLOPs. If
// several seeds split equally many FLOPs, prefers seeds without couplings (if `avoid_couplings`), then seeds with the
// fewest loops, then seeds that split the most bytes.
SeedSearch FindSeeds(const graph::Graph& program, const plan::Roles& roles, int64_t chunks, bool avoid_couplings,
                     bool local_statistics);

}  // namespace alpa::planner
