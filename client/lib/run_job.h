// Runs a job directory from submission to its results in files.
//
// Model:     upload the program, submit, wait for devices and a plan, put the first state and the batches on the
// workers,
//            ask for all steps, collect their metrics, fetch the final state, finish the job. Steps that were accepted
//            go on when this process leaves; the same call with the same job id picks the job up where it is. Batches
//            stay on the workers for the whole job where they fit (1024 of them, 1 GiB); others are sent in turn, and
//            then only the steps that batches were sent for go on by themselves. Such a job must be driven by one
//            process at a time.
// Ownership: all arguments must outlive the call.
// Threads:   blocks; the callbacks run on the calling thread.
// Errors:    outcome.h says which exit code a status means. Files in the output folder appear together, at the end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/lib/coordinator.h"
#include "client/lib/job_directory.h"
#include "client/lib/metrics.h"

namespace alpa::client {

inline constexpr int64_t kMaxSteps = 10'000'000;  // of one command to the workers

struct RunOptions {
  int64_t steps = 1;        // 1 to kMaxSteps
  std::string output;       // folder for metrics.jsonl, state.safetensors, aux.safetensors; empty: none
  std::string job_id;       // empty: made from the job's name, and new
  bool detach = false;      // leave after the first step
  std::string name;         // for people
  proto::PlanRequest plan;  // the directory's, with what the user pinned over it
};

struct RunEvents {
  std::function<void(const std::string&)> message;  // for people
  std::function<void(const proto::Job&)> running;   // once, when the plan stands
  std::function<void(const StepMetrics&)> step;
};

struct RunResult {
  absl::Status status;
  std::string job_id;          // empty: nothing was submitted
  proto::Job job;              // as last seen
  int64_t steps_accepted = 0;  // that run whether or not anybody watches; at least so many
  int64_t steps_done = 0;
  bool left_running = false;  // detached
};

RunResult RunJob(Coordinator& coordinator, const JobDirectory& directory, const RunOptions& options,
                 const RunEvents& events, Interruption* interruption);

// 1 to 63 characters of a-z, 0-9 and -.
bool IsJobId(absl::string_view id);
// "gpt-step-3f9a2c41" for the name "GPT step".
std::string NewJobId(absl::string_view name);

}  // namespace alpa::client
