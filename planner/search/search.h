// Chooses the options that the user left open: data, tensor and pipeline degrees, number of devices, microbatches,
// schedule, remat, ZeRO and sequence sharding.
//
// Model:   A candidate is a set of pins. To evaluate it, the search makes its plan, lowers it, and simulates the
//          executable. The prediction therefore describes the executable that the workers would run.
//          The first round tries every way to write the number of devices as a product of data, tensor and pipeline
//          degrees. If the user did not specify this number, the round also tries its divisors.
//          The second round refines the best few candidates by one change at a time until no change helps. A change
//          concerns the microbatches, remat, ZeRO, sequence sharding, the schedule, the stages per mesh, or the
//          devices, the work or the tensor degree of single meshes.
//          Finally, the search takes the best candidates that have a tensor axis and evaluates them again with the
//          exact choice of that axis (planner/intra_op).
// Order:   A plan that fits into memory is better than a plan that does not fit. Of two plans that fit, the faster one
//          is better. Of two plans that do not fit, the plan that needs less memory is better.
// Threads: pure functions, except for the time limit. Candidates are evaluated on all cores (candidate_evaluator.h).
//          The result does not depend on the number of cores, unless time runs out.
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
  std::string name;       // "data 2 x tensor 1 x pipeline 2, 8 microbatches, 1f1b"
  absl::Status status;    // an error explains why the options yield no plan
  Simulation simulation;  // without spans; all of it is empty if `status` is an error
  bool fits = false;      // whether the plan fits into the devices' memory
  std::string note;       // a remark on the exact choice of the tensor axis, if there was one
};

struct SearchProgress {
  const Candidate& next;  // the candidate that is evaluated next
  int evaluated = 0;      // number of candidates evaluated so far
  const Candidate* best;  // the best evaluated candidate; null before the first
};

struct SearchLimits {
  double seconds = 600;   // time limit; the search then returns the best plan so far
  // Called before each candidate is evaluated. Return false to cancel the search.
  std::function<bool(const SearchProgress&)> progress;
};

struct Searched {
  plan::Plan plan;                    // the best plan, with its prediction
  std::vector<Candidate> candidates;  // best first; candidates without a plan come last
  double roofline_seconds = 0;        // roofline bound of the step on all devices (RooflineSeconds)
  bool complete = true;               // false: time ran out
  // For each candidate that dropped out because of a bug in the planner: its name and the error. The bugs do not affect
  // `plan`.
  std::vector<std::string> bugs;
};

// Returns the best plan that keeps to the pins of `options`. REQUIRES: `cluster` is measured.
// Errors: kFailedPrecondition if no plan fits into memory; the message names the smallest plan and its memory.
// kInvalidArgument if no split of the devices agrees with the pins. kCancelled if `progress` returned false. If no
// candidate yields a plan, Search returns the error of the first candidate.
absl::StatusOr<Searched> Search(const graph::Graph& program, const plan::Roles& roles, const cluster::Cluster& cluster,
                                const PlanOptions& options, const SearchLimits& limits);

// Returns a human-readable table of at most `most` candidates, the first ones of the list. It shows the step time of
// each candidate, and how the busiest mesh spends this time. Below the table are the roofline bound and the reason why
// the second candidate is slower.
std::string PrintCandidates(const Searched& searched, size_t most);

}  // namespace alpa::planner
