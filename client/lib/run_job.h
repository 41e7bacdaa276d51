// Runs a job directory, from its submission to the files with its results.
//
// Model:     RunJob uploads the program, submits the job, and waits for devices and a plan. It puts the initial state
//            and the batches on the workers, requests all steps, and collects their metrics. At the end it fetches the
//            final state and finishes the job.
//            The steps that the coordinator has accepted continue when this process exits. A second call with the same
//            job id attaches to the job and continues it.
//            If all batches fit on the workers (at most 1024 batches and 1 GiB), they stay there for the whole job.
//            Otherwise this process sends the batches while the steps run. If it exits, only the steps whose batches
//            were sent continue. Only one process at a time may run such a job.
// Ownership: all arguments must outlive the call.
// Threads:   blocks; the callbacks run on the calling thread.
// Errors:    ExitCodeOf (outcome.h) returns the exit code of a status. The output folder gets its files at the end.
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

inline constexpr int64_t kMaxSteps = 10'000'000;  // maximum number of steps of a job; workers refuse a longer command

struct RunOptions {
  int64_t steps = 1;        // 1 to kMaxSteps
  std::string output;       // folder for metrics.jsonl, state.safetensors and aux.safetensors; empty: no output
  std::string job_id;       // empty: a new id, made from the job's name
  bool detach = false;      // return after the first step and leave the job running
  std::string name;         // display name; empty: the name in the directory
  proto::PlanRequest plan;  // the directory's request, overridden by the user's pins
};

struct RunEvents {
  std::function<void(const std::string&)> message;  // human-readable
  std::function<void(const proto::Job&)> running;   // called once, when the job is RUNNING and has its plan
  std::function<void(const StepMetrics&)> step;
};

struct RunResult {
  absl::Status status;
  std::string job_id;          // empty: nothing was submitted
  proto::Job job;              // the last state that this process received
  int64_t steps_accepted = 0;  // the workers run at least this number of steps, even if no client watches
  int64_t steps_done = 0;
  bool left_running = false;  // RunJob returned early because of RunOptions::detach
};

RunResult RunJob(Coordinator& coordinator, const JobDirectory& directory, const RunOptions& options,
                 const RunEvents& events, Interruption* interruption);

// Returns true for 1 to 63 of the characters a-z, 0-9 and -.
bool IsJobId(absl::string_view id);
// Returns a new job id with a random suffix. For the name "GPT step", it may be "gpt-step-3f9a2c41".
std::string NewJobId(absl::string_view name);

}  // namespace alpa::client
