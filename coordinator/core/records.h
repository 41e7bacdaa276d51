// The core's records of jobs and workers, and its limits.
//
// Threads: plain values; the lock that guards the core guards them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "cluster/node.h"
#include "coordinator/core/histogram.h"
#include "graph/shape.h"
#include "proto/job_service.pb.h"

namespace alpa::coordinator {

struct Limits {
  Duration heartbeat = std::chrono::seconds(1);           // time between two heartbeats of a worker
  Duration lease = std::chrono::seconds(10);              // a worker that is silent for longer is lost
  Duration watchdog_floor = std::chrono::seconds(30);     // minimum; a step is stuck after 10 x the median step time
  Duration idle_timeout = std::chrono::hours(1);          // a RUNNING job without steps and clients then stops
  Duration planning_timeout = std::chrono::minutes(10);   // maximum time from the start of planning to the plan
  Duration search_time = std::chrono::seconds(60);        // after this time, the search takes the best plan so far
  Duration prepare_timeout = std::chrono::minutes(10);    // limit for compiling on all workers of a job
  Duration primary_error_wait = std::chrono::seconds(1);  // wait for the primary error after a secondary error
  Duration lost_worker_listed = std::chrono::hours(1);    // for this time, a lost worker stays in the list
  // A job fails if the coordinator has ended this number of times while it planned the job, because the job's program
  // may be the cause. Orderly shutdowns do not count.
  int32_t planning_attempts = 3;
  int64_t max_jobs = 10'000;  // number of jobs that are not in a final state
  // While this number of steps of a job is in flight, the core accepts no other command for the job. A single command
  // may contain more steps.
  int64_t steps_in_flight = 16;
  int64_t results_kept = 100'000;             // step results per job
  int64_t results_kept_of_ended = 1'000'000;  // step results of all ended jobs; the oldest are dropped first
};

// A request to the planner. The task holds copies, because the planner runs outside the core's lock.
struct PlanTask {
  std::string job_id;
  uint64_t epoch = 0;
  uint64_t program_hash = 0;
  proto::Roles roles;
  proto::PlanRequest request;
  std::vector<DeviceId> devices;  // empty: only check the program
  cluster::Cluster cluster;       // these devices and their machines
  double search_seconds = 0;      // after this time, the search takes the best plan so far
};

// One run of a stage program on a mesh, in the predicted timeline of a step.
struct PlannedSpan {
  int mesh = 0;
  std::string program;
  double begin = 0, end = 0;  // seconds
};

// The planner's answer: the parts of a plan and its executable that the coordinator needs.
struct Planned {
  proto::Plan plan;
  std::string plan_text;
  std::vector<PlannedSpan> spans;     // the first spans of the predicted step; empty without a prediction
  std::string serialized_executable;  // proto::Executable
  proto::Placement placement;         // only meshes, inputs, input_is_state and outputs are set
  std::vector<DeviceId> devices;      // devices that the plan uses, in rank order
  // The output that is shown as the loss: the first aux that is a single floating-point number. -1: none.
  int32_t loss_output = -1;
  graph::Shape loss_shape;
  double seconds = 0;                           // of all phases together
  std::map<std::string, double> phase_seconds;  // key: phase (import, plan or lower)
  std::vector<std::string> warnings;            // for the coordinator's log
};

// An accepted command with steps that are not done.
struct CommandRecord {
  int64_t last_step = 0;
  MonotonicTime sent;
};

// The error that makes a job fail. If the error is secondary, the core waits for the primary error before it fails the
// job.
struct PendingFailure {
  MonotonicTime due;  // the time at which the core stops waiting
  proto::Job::Cause cause = proto::Job::NONE;
  std::string reason_word, message, worker, op;
};

struct JobRecord {
  uint64_t number = 0;           // position in the order of submission
  std::string stored_request;    // serialized, with the job's id; a repeated submission must have the same bytes
  proto::SubmitRequest request;  // cleared in final states
  proto::Job job;                // without the plan and current step numbers, which Core::JobOf adds
  std::shared_ptr<const proto::Plan> plan;
  std::vector<PlannedSpan> spans;  // not stored: a restart loses them
  int64_t events = 0;              // number of events in the store
  bool checked = false;            // the planner has been asked to check or plan the program
  bool attempt_counted = false;    // job.planning_attempts() includes an attempt that is not over

  // Set while the job is PLANNING or RUNNING:
  std::vector<DeviceId> devices;     // in rank order after planning
  std::vector<std::string> workers;  // workers that hold `devices`, sorted; empty until planned
  std::set<std::string> preparing;   // workers that have not answered Prepare
  proto::Placement placement;
  MonotonicTime phase_began;  // start of planning; later, start of compiling

  // Numbers of steps: `done` <= each of `reported` <= `accepted`.
  int64_t accepted = 0, done = 0;
  std::deque<CommandRecord> commands;
  std::map<std::string, int64_t> reported;       // key: worker; value: the last step that it has reported done
  std::map<int64_t, proto::StepResult> partial;  // key: step; only steps that some, but not all workers reported
  std::deque<proto::StepResult> results;         // of the latest done steps, without gaps
  std::deque<double> recent_seconds;             // of the last 50 steps
  Histogram step_seconds;
  double sent_bytes = 0;  // between devices, in all steps
  MonotonicTime last_step_done;
  int32_t loss_output = -1;
  graph::Shape loss_shape;

  MonotonicTime last_contact;  // last client contact, or the end of the last step
  int64_t streams = 0;         // open client streams that follow the job
  std::optional<PendingFailure> pending_failure;

  bool final() const { return job.state() >= proto::Job::SUCCEEDED; }
};

struct WorkerRecord {
  std::string name, incarnation, tensor_address, transport_address, device_kind;
  uint64_t session = 0;
  std::vector<DeviceId> devices;
  int64_t device_memory = 0;
  std::optional<cluster::NodeFacts> facts;  // facts that the worker reports about its machine
  std::vector<int64_t> bytes_in_use;        // one entry per device, from the last heartbeat
  bool up = false;                          // false: lost
  MonotonicTime last_heard;
};

}  // namespace alpa::coordinator
