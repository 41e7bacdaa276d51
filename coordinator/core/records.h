// What the core knows of each job and worker, and the limits that it keeps.
//
// Threads: plain values, guarded by whoever guards the core.
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
  Duration heartbeat = std::chrono::seconds(1);
  Duration lease = std::chrono::seconds(10);
  Duration watchdog_floor = std::chrono::seconds(30);  // a step is stuck after max(this, 10 x median of the last 50)
  Duration idle_timeout = std::chrono::hours(1);
  Duration planning_timeout = std::chrono::minutes(10);
  Duration search_time = std::chrono::seconds(60);  // for the planner to choose in, where it is to choose
  Duration prepare_timeout = std::chrono::minutes(10);
  Duration primary_error_wait = std::chrono::seconds(1);
  Duration lost_worker_listed = std::chrono::hours(1);
  int64_t max_jobs = 10'000;                  // that are not in a final state
  int64_t steps_in_flight = 16;               // of a job: with so many not done, no command is taken
  int64_t results_kept = 100'000;             // of a job
  int64_t results_kept_of_ended = 1'000'000;  // of all jobs in final states together; the oldest go first
};

// What the planner is asked, by value: it runs elsewhere.
struct PlanTask {
  std::string job_id;
  uint64_t epoch = 0;
  uint64_t program_hash = 0;
  proto::Roles roles;
  proto::PlanRequest request;
  std::vector<DeviceId> devices;  // empty: only look whether the program can be accepted at all
  cluster::Cluster cluster;       // of these devices
  double search_seconds = 0;      // then the best plan so far is taken
};

// A program under way on a mesh, in the step as it was predicted.
struct PlannedSpan {
  int mesh = 0;
  std::string program;
  double begin = 0, end = 0;  // seconds
};

// What comes back: all that the coordinator needs of a plan and its executable.
struct Planned {
  proto::Plan plan;
  std::string plan_text;
  std::vector<PlannedSpan> spans;  // the first of them, where the step was predicted
  std::string serialized_executable;  // proto::Executable
  proto::Placement placement;         // meshes, inputs, input_is_state, outputs
  std::vector<DeviceId> devices;      // those used, in rank order
  // The aux that is shown as the loss: the first that is one floating-point number. -1: none.
  int32_t loss_output = -1;
  graph::Shape loss_shape;
  double seconds = 0;
  std::map<std::string, double> phase_seconds;  // import, plan, lower: their sum is `seconds`
};

// An accepted command that is not done.
struct CommandRecord {
  int64_t last_step = 0;
  MonotonicTime sent;
};

// An error that may be the consequence of another one that has not arrived yet.
struct PendingFailure {
  MonotonicTime due;
  proto::Job::Cause cause = proto::Job::NONE;
  std::string reason_word, message, worker, op;
};

struct JobRecord {
  uint64_t number = 0;           // order of submission
  std::string stored_request;    // serialized, with the job's id: decides whether a submission is the same
  proto::SubmitRequest request;  // emptied in final states
  proto::Job job;                // without plan and what counts steps, see Core::JobOf
  std::shared_ptr<const proto::Plan> plan;
  std::vector<PlannedSpan> spans;  // not in the store: a restart loses it
  int64_t events = 0;    // in the store
  bool checked = false;  // whether the program can be accepted has been asked

  // While PLANNING or RUNNING:
  std::vector<DeviceId> devices;     // in rank order once planned
  std::vector<std::string> workers;  // those of `devices`, once planned, sorted
  std::set<std::string> preparing;   // workers that have not answered yet
  proto::Placement placement;
  MonotonicTime phase_began;  // of planning, then of compiling

  // Steps. done <= each of `reported` <= accepted.
  int64_t accepted = 0, done = 0;
  std::deque<CommandRecord> commands;
  std::map<std::string, int64_t> reported;       // by worker: the last step that it said is done
  std::map<int64_t, proto::StepResult> partial;  // of steps that some workers have done and others have not
  std::deque<proto::StepResult> results;         // the last ones, consecutive
  std::deque<double> recent_seconds;             // of the last 50 steps
  Histogram step_seconds;
  double sent_bytes = 0;                         // from device to device, in all steps
  MonotonicTime last_step_done;
  int32_t loss_output = -1;
  graph::Shape loss_shape;

  MonotonicTime last_contact;  // with a client, or the end of the last step
  int64_t streams = 0;         // open streams of clients
  std::optional<PendingFailure> pending_failure;

  bool final() const { return job.state() >= proto::Job::SUCCEEDED; }
};

struct WorkerRecord {
  std::string name, incarnation, tensor_address, transport_address, device_kind;
  uint64_t session = 0;
  std::vector<DeviceId> devices;
  int64_t device_memory = 0;
  std::optional<cluster::NodeFacts> facts;  // what it says about its machine
  std::vector<int64_t> bytes_in_use;  // by device, from the last heartbeat
  bool up = false;
  MonotonicTime last_heard;
};

}  // namespace alpa::coordinator
