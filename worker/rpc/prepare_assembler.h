// Joins the parts of a Prepare message and converts them to a JobRuntime::Spec.
//
// Threads: thread-compatible.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/worker_service.pb.h"
#include "worker/core/job_runtime.h"

namespace alpa::worker {

class PrepareAssembler {
 public:
  // `name` is this worker's name. `device_ids` has one entry per device of the worker: its id in the cluster.
  PrepareAssembler(std::string name, std::vector<int32_t> device_ids)
      : name_(std::move(name)), device_ids_(std::move(device_ids)) {}

  // Adds one part. Returns nothing until the last part has arrived. An error drops the job's parts.
  absl::StatusOr<std::optional<JobRuntime::Spec>> Add(proto::Prepare part);

 private:
  struct Parts {
    uint64_t epoch = 0;
    std::string bytes;
  };
  std::string name_;
  std::vector<int32_t> device_ids_;
  std::map<std::string, Parts> parts_;  // key: job id
  size_t collected_ = 0;                // bytes in parts_
};

}  // namespace alpa::worker
