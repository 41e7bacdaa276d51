// The placement of a job's leaves: for each part of a leaf, the workers that hold it.
//
// Threads: immutable after FromProto.
// Errors:  kInternal if the coordinator's reply contradicts itself or the job.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/shape.h"
#include "plan/sharding.h"
#include "proto/job_service.pb.h"

namespace alpa::client {

struct Worker {
  std::string name, address;
};
// A part of a leaf, with all workers that hold it. A worker with several replicas of the part is listed once.
struct HeldPart {
  plan::Region region;       // of the leaf, with at least one element
  std::vector<int> workers;  // indices into Placement::workers
};
struct LeafParts {
  graph::Shape shape;
  std::vector<HeldPart> parts;  // disjoint, and together the complete leaf; empty for state results
};
struct Placement {
  uint64_t epoch = 0;
  std::vector<Worker> workers;
  std::vector<LeafParts> inputs, outputs;  // by graph parameter, by graph result

  // Checks the coordinator's reply and converts it. `inputs` and `outputs` are the shapes of the job's leaves.
  static absl::StatusOr<Placement> FromProto(const proto::Placement& in, const std::vector<graph::Shape>& inputs,
                                             const std::vector<graph::Shape>& outputs);
};

}  // namespace alpa::client
