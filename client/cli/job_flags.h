// What `alpa submit` and `alpa run` are told about a job: its directory, how many steps, where results go, and what is
// pinned about its plan.
//
// Threads: thread-compatible.
// Errors:  with the reason word USAGE, where the user must change a flag or a file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/config.h"
#include "client/lib/job_directory.h"

namespace alpa::client {

// What is pinned about a plan. 0, empty or false: nothing.
struct PlanFlags {
  int64_t devices = 0, data_parallel = 0, tensor_parallel = 0, zero = 0, microbatches = 0;
  int64_t pipeline = 0, interleave = 0;
  std::string schedule, remat;
  bool sequence = false;
  std::vector<std::string> stage_devices;
  bool local_statistics = false;

  void Declare(Flags& flags);
  // `plan` with these flags over it. REQUIRES: flags were parsed.
  proto::PlanRequest Over(const proto::PlanRequest& plan) const;
  // These flags as they are typed, with a space before each; empty where nothing is pinned.
  std::string Typed() const;

 private:
  void PipelineOver(proto::PlanRequest& plan) const;
};

struct JobFlags {
  std::string directory, output, name;
  int64_t steps = 0;
  PlanFlags pins;         // what they leave open, the directory says
  std::string plan_file;  // instead of any pins
  std::vector<std::string> only_workers;

  void Declare(Flags& flags);
  // REQUIRES for the rest: flags were parsed.
  absl::StatusOr<std::unique_ptr<JobDirectory>> Open() const;
  // The directory's plan with these flags over it.
  absl::StatusOr<proto::PlanRequest> PlanOver(const proto::PlanRequest& plan) const;
  // These flags as they are typed, to be given again.
  std::string Typed() const;
};

// The plan in a file. Errors name the file.
absl::StatusOr<proto::Plan> ReadPlanFile(const std::string& path);

}  // namespace alpa::client
