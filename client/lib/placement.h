// Describes the placement of a job's leaves. For each tile of a leaf, it lists the workers that hold the tile. A tile
// is called a part here.
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
  plan::Region region;       // of the leaf; has at least one element
  std::vector<int> workers;  // indices into Placement::workers
};
struct LeafParts {
  graph::Shape shape;
  std::vector<HeldPart> parts;  // disjoint parts that together are the complete leaf; empty for state results
};
struct Placement {
  uint64_t epoch = 0;
  std::vector<Worker> workers;
  std::vector<LeafParts> inputs, outputs;  // one entry per graph parameter; one entry per graph result

  // Checks the coordinator's reply and converts it. `inputs` and `outputs` are the shapes of the job's leaves.
  static absl::StatusOr<Placement> FromProto(const proto::Placement& in, const std::vector<graph::Shape>& inputs,
                                             const std::vector<graph::Shape>& outputs);
};

}  // namespace alpa::client
