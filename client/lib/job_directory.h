// Reads a job directory: a job as files, which the Python package's save_job() writes and `alpa submit` runs.
//
//   program.hlo.pb            the step, a serialized HloModuleProto
//   job.json                  {"version": 1, "name", "inputs", "outputs", "plan", "batches"}
//   state.safetensors         the initial state, by state input path
//   batch-00000.safetensors   one file per batch, by batch path; steps use the batches in turn
//
// Model:     Open makes every check that does not need the planner. The files are complete and the members of job.json
//            have the expected types. The tensors are those that job.json names, with its shapes and dtypes. State
//            outputs have the shapes and dtypes of the state inputs. A directory that passes can be submitted.
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

inline constexpr int64_t kMaxBatches = 16384;  // most batches in one job directory

// The content of job.json.
struct JobDescription {
  std::string name;
  plan::Roles roles;
  std::vector<graph::Shape> inputs, outputs;  // by graph parameter; by graph result
  proto::PlanRequest plan;
  int64_t batches = 0;
};
// Parses the content of job.json. Errors do not name the file.
absl::StatusOr<JobDescription> ParseJobDescription(absl::string_view text);

class JobDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<JobDirectory>> Open(const std::string& directory);
  // Opens only the description and the program, which is all that planning needs. Do not call state() and batch() then.
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
