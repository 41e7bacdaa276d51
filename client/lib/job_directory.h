// Reads a job directory, which has the files of one job. save_job() of the Python package writes a job directory, and
// `alpa submit` runs it.
//
//   program.hlo.pb            the step, a serialized HloModuleProto
//   job.json                  {"version": 1, "name", "inputs", "outputs", "plan", "batches"}
//   state.safetensors         the initial state: one tensor per state input, named by its path
//   batch-00000.safetensors   a batch: one tensor per batch input, named by its path; steps use the batches in turn
//
// Model:     Open makes every check that does not need the planner. The files must be complete. The members of job.json
//            must have the expected types. The tensors must be those that job.json names, with its shapes and
//            dtypes. Each state output must have the shape and dtype of the state input that it replaces. A directory
//            that passes can be submitted.
// Ownership: spans point into the object.
// Threads:   after Open, any thread may read.
// Errors:    kInvalidArgument that names the file and the leaf, with the observed and the expected value.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/lib/safetensors.h"
#include "graph/shape.h"
#include "plan/roles.h"
#include "proto/job_service.pb.h"

namespace alpa::client {

inline constexpr int64_t kMaxBatches = 16384;  // maximum number of batches in one job directory

// The content of job.json.
struct JobDescription {
  std::string name;
  plan::Roles roles;
  std::vector<graph::Shape> inputs, outputs;  // one entry per graph parameter; one entry per graph result
  proto::PlanRequest plan;
  int64_t batches = 0;
};
// Parses the content of job.json. The message of an error does not name the file.
absl::StatusOr<JobDescription> ParseJobDescription(absl::string_view text);

class JobDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<JobDirectory>> Open(const std::string& directory);
  // Opens only job.json and the program, which suffice for planning. The result has no tensors. Do not call state() or
  // batch() on it.
  static absl::StatusOr<std::unique_ptr<JobDirectory>> OpenProgram(const std::string& directory);

  const JobDescription& description() const { return description_; }
  std::span<const uint8_t> program() const { return program_->bytes(); }
  // Return the bytes of one state leaf or batch leaf. REQUIRES: `input` is a graph parameter of that kind, and
  // 0 <= batch < description().batches.
  std::span<const uint8_t> state(int input) const;
  std::span<const uint8_t> batch(int64_t batch, int input) const;
  std::vector<int> InputsOf(plan::InputRole::Kind kind) const;  // graph parameters, ascending

 private:
  JobDescription description_;
  std::unique_ptr<MappedFile> program_;
  std::unique_ptr<SafetensorsFile> state_;
  std::vector<std::unique_ptr<SafetensorsFile>> batches_;
};

}  // namespace alpa::client
