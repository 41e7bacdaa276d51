// The flags that describe a job: its directory, the number of steps, the output folder, and the pins of its plan.
//
// Threads: thread-compatible.
// Errors:  kInvalidArgument with the reason word USAGE if the user must change a flag or a file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/config.h"
#include "client/lib/job_directory.h"

namespace alpa::client {

// The flags that pin a part of the plan. 0, empty and false mean: not pinned.
struct PlanFlags {
  int64_t devices = 0, data_parallel = 0, tensor_parallel = 0, zero = 0, microbatches = 0;
  int64_t pipeline = 0, interleave = 0;
  std::string schedule, remat;
  bool sequence = false;
  std::vector<std::string> stage_devices;
  bool local_statistics = false;

  void Declare(Flags& flags);
  // Returns a copy of `plan` in which the pins of these flags override its pins. REQUIRES: flags were parsed.
  proto::PlanRequest Over(const proto::PlanRequest& plan) const;
  // Returns the flags that pin something as command-line text, with a space before each flag.
  std::string Typed() const;

 private:
  void PipelineOver(proto::PlanRequest& plan) const;
};

struct JobFlags {
  std::string directory, output, name;
  int64_t steps = 0;
  PlanFlags pins;         // these override the pins of the directory
  std::string plan_file;  // the path of a plan file; empty: none. A plan file replaces all pins.
  std::vector<std::string> only_workers;

  void Declare(Flags& flags);
  // REQUIRES for the functions below: flags were parsed.

  // Opens the directory. Fails if --steps is missing.
  absl::StatusOr<std::unique_ptr<JobDirectory>> Open() const;
  // `plan` is the request from the directory. Returns a copy with other pins: if there is a plan file, it replaces the
  // pins of `plan`; otherwise the pins of these flags override them.
  absl::StatusOr<proto::PlanRequest> PlanOver(const proto::PlanRequest& plan) const;
  // Returns the directory and these flags as command-line text that repeats the command.
  std::string Typed() const;
};

// Reads and parses a plan file. An error's message names the file.
absl::StatusOr<proto::Plan> ReadPlanFile(const std::string& path);

}  // namespace alpa::client
