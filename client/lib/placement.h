// Where a job's leaves lie: the coordinator's answer, checked and turned round to "which workers hold which part".
//
// Threads: immutable after FromProto.
// Errors:  kInternal where the answer contradicts itself or the job.
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
// A part of a leaf with all workers that hold it; a worker with several replicas is there once.
struct HeldPart {
  plan::Region region;       // of the leaf, at least one element
  std::vector<int> workers;  // in Placement::workers
};
struct LeafParts {
  graph::Shape shape;
  std::vector<HeldPart> parts;  // together the whole leaf; none for state results
};
struct Placement {
  uint64_t epoch = 0;
  std::vector<Worker> workers;
  std::vector<LeafParts> inputs, outputs;  // by graph parameter, by graph result

  // `inputs` and `outputs` are the shapes that the job's leaves have.
  static absl::StatusOr<Placement> FromProto(const proto::Placement& in, const std::vector<graph::Shape>& inputs,
                                             const std::vector<graph::Shape>& outputs);
};

}  // namespace alpa::client
