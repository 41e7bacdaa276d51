// Chooses what the user left open: degrees of data, tensor and pipeline parallelism, microbatches, schedule, remat, ZeRO.
//
// Model:  a candidate is a set of pins. Its price is what the simulator says of the executable that it is lowered to, so nothing
//         is promised that is not run. First every split of the devices (of fewer too, where their number is left open) into
//         data x tensor x pipeline, then the best few of them with other numbers of microbatches, remat, ZeRO, schedules, stages,
//         and devices and tensor degrees of single meshes, one change at a time until none helps.
// Order:  a plan that fits in memory comes before one that does not; of two that fit, the faster; of two that do not, the smaller.
// Threads: pure functions, but for the clock that ends the search. Candidates are priced on all cores (pricer.h); what is found does
//         not depend on how many.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cluster/cluster.h"
#include "planner/planner.h"
#include "planner/simulate/simulate.h"

namespace alpa::planner {

struct Candidate {
  PlanOptions options;
  std::string name;          // "data 2 x tensor 1 x pipeline 2, 8 microbatches, 1f1b"
  absl::Status status;       // why it is no plan
  Simulation simulation;     // where it is one; without spans
  bool fits = false;         // into the devices' memory
  std::string note;          // of how the tensor axis was chosen, where that was exactly
};

struct SearchProgress {
  const Candidate& next;     // about to be priced
  int evaluated = 0;
  const Candidate* best;     // of those priced; null before the first
};

struct SearchLimits {
  double seconds = 600;      // then the best plan so far
  // Called before each candidate is priced. False: nobody waits for the plan any more.
  std::function<bool(const SearchProgress&)> progress;
};

struct Searched {
  plan::Plan plan;                     // with its prediction
  std::vector<Candidate> candidates;   // best first; those that are no plans last
  double roofline_seconds = 0;         // that no plan for all the devices can beat
  bool complete = true;                // false: time was up
};

// REQUIRES: `cluster` is measured. What `options` pins stays. Errors: kFailedPrecondition where nothing fits, naming the smallest
// memory that would do; kCancelled; that of the first candidate, where none is a plan.
absl::StatusOr<Searched> Search(const graph::Graph& program, const plan::Roles& roles, const cluster::Cluster& cluster,
                                const PlanOptions& options, const SearchLimits& limits);

// A table of the first `most` candidates, for people: the step, and what its busiest mesh does in it. Then why the runner-up is none.
std::string PrintCandidates(const Searched& searched, size_t most);

}  // namespace alpa::planner
