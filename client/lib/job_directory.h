// A job as files: what the Python package's save_job() writes and `alpa submit` reads.
//
//   program.hlo.pb            the step, a serialized HloModuleProto
//   job.json                  {"version": 1, "name", "inputs", "outputs", "plan", "batches"}
//   state.safetensors         the first state, by state input path
//   batch-00000.safetensors   batches, by batch path; steps use them in turn
//
// Model:     Open checks everything that can be checked without the planner: that files are whole, that types are as
//            expected, that the tensors are those that job.json names, with its shapes and dtypes, and that state is
//            the same going in and coming out. What comes out can be submitted.
// Ownership: spans belong to the object.
// Threads:   after Open, any.
// Errors:    kInvalidArgument naming file and leaf, observed against expected.
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

inline constexpr int64_t kMaxBatches = 16384;

// The part that job.json holds.
struct JobDescription {
  std::string name;
  plan::Roles roles;
  std::vector<graph::Shape> inputs, outputs;  // by graph parameter, by graph result
  proto::PlanRequest plan;
  int64_t batches = 0;
};
// Messages do not name the file.
absl::StatusOr<JobDescription> ParseJobDescription(absl::string_view text);

class JobDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<JobDirectory>> Open(const std::string& directory);
  // Description and program alone: all that a plan needs. state() and batch() may not be called.
  static absl::StatusOr<std::unique_ptr<JobDirectory>> OpenProgram(const std::string& directory);

  const JobDescription& description() const { return description_; }
  std::span<const uint8_t> program() const { return program_->bytes(); }
  // The bytes of one state or batch leaf. REQUIRES: `input` is of that kind, batch < description().batches.
  std::span<const uint8_t> state(int input) const;
  std::span<const uint8_t> batch(int64_t batch, int input) const;
  std::vector<int> InputsOf(plan::InputRole::Kind kind) const;

 private:
  JobDescription description_;
  std::unique_ptr<MappedFile> program_;
  std::unique_ptr<SafetensorsFile> state_;
  std::vector<std::unique_ptr<SafetensorsFile>> batches_;
};

}  // namespace alpa::client
