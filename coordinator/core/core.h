// The coordinator's mind: which workers there are, what each job is doing, who may have which devices.
//
// Model:   Events come in by method calls (a worker registered, a client submitted, a plan is ready, time passed); actions go
//          out through `Actions` (send this to that worker, plan this job, something changed). No sockets, no threads, no
//          clock of its own. A job goes PENDING -> PLANNING (planning, then compiling on its workers) -> RUNNING ->
//          SUCCEEDED | FAILED | STOPPED. Every change of a job that a client may rely on is in the Store before anybody
//          hears of it; steps are not, they are cheap to repeat.
// Threads: thread-compatible: the owner holds one lock around every call. Actions are called under that lock and must not
//          call back.
// Errors:  absl::Status with a reason word (core/errors.h). Messages from workers that are stale or senseless are dropped.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/store/store.h"
#include "plan/executable.h"
#include "plan/plan.h"
#include "planner/planner.h"
#include "proto/job_service.pb.h"
#include "proto/worker_service.pb.h"

namespace alpa::coordinator {

struct Limits {
  Duration heartbeat = std::chrono::seconds(1);
  Duration lease = std::chrono::seconds(10);
  Duration watchdog_floor = std::chrono::seconds(30);
  Duration idle_timeout = std::chrono::hours(1);
  Duration primary_error_wait = std::chrono::seconds(1);
  int64_t max_jobs = 10'000;
  int64_t steps_in_flight = 16;
  int64_t results_kept = 100'000;
};

// What the planner is asked, by value: it runs elsewhere.
struct PlanTask {
  std::string job_id;
  uint64_t epoch = 0;
  uint64_t program_hash = 0;
  proto::Roles roles;
  planner::PlanOptions options;
  std::vector<DeviceId> devices;
};
struct Planned {
  plan::Plan plan;
  plan::Executable executable;
  std::string serialized_executable;
  std::string plan_text;
  double seconds = 0;
};

class Actions {
 public:
  virtual ~Actions() = default;
  virtual void SendToWorker(uint64_t session, proto::ToWorker message) = 0;
  virtual void EndSession(uint64_t session, const absl::Status& why) = 0;
  virtual void StartPlanning(PlanTask task) = 0;
  virtual void Changed() = 0;   // something that a watcher may wait for
};

struct StepRecord {
  int64_t step = 0;
  MonotonicTime dispatched;
  std::set<std::string> waiting_for;
  proto::StepResult result;
};

struct JobRecord {
  proto::SubmitRequest request;
  std::string stored_request;             // as it came: decides whether a submission is the same
  proto::Job job;                         // without steps_done etc., see JobOf
  int64_t events = 0;
  // From PLANNING on:
  std::vector<DeviceId> devices;
  std::vector<std::string> workers;       // by name, those of `devices`
  uint64_t transport_epoch = 0;
  std::shared_ptr<const Planned> planned;
  std::set<std::string> preparing;        // workers that have not answered yet
  // Steps:
  int64_t accepted = 0, done = 0;
  std::map<int64_t, StepRecord> in_flight;
  std::deque<proto::StepResult> results;  // the last ones, by step
  std::deque<double> recent_seconds;      // of the last 50 steps
  MonotonicTime last_activity;            // a client's or a step's
  // A secondary error waits a moment for the primary one behind it.
  std::optional<std::pair<MonotonicTime, std::function<void()>>> pending_failure;

  bool final() const { return job.state() >= proto::Job::SUCCEEDED; }
};

struct WorkerRecord {
  std::string name, incarnation, tensor_address, transport_address, device_kind;
  uint64_t session = 0;
  std::vector<DeviceId> devices;
  int64_t device_memory = 0;
  std::vector<int64_t> bytes_in_use;
  bool up = false;
  MonotonicTime last_heartbeat;
};

class Core {
 public:
  Core(Limits limits, std::string version, Clock& clock, Store& store, Actions& actions);

  // Reads the store. Jobs that were waiting wait again; jobs that ran have failed. REQUIRES: called first, once.
  absl::Status Replay();

  // ---- From workers. `session` is the rim's number of the stream, never reused. ----
  absl::StatusOr<proto::Welcome> OnRegister(uint64_t session, const proto::Register& message);
  void OnMessage(uint64_t session, const proto::FromWorker& message);   // all but Register
  void OnSessionEnd(uint64_t session, const std::string& why);

  // ---- From the planner ----
  void OnPlanned(const std::string& job_id, uint64_t epoch, absl::StatusOr<Planned> planned);

  // ---- From clients ----
  absl::StatusOr<proto::Job> Submit(const proto::SubmitRequest& request);
  absl::StatusOr<proto::Job> GetJob(const std::string& job_id) const;
  std::vector<proto::Job> ListJobs() const;
  absl::StatusOr<proto::Job> Stop(const std::string& job_id);
  absl::StatusOr<proto::Job> Finish(const std::string& job_id);
  absl::Status Delete(const std::string& job_id);
  absl::StatusOr<std::vector<StoredEvent>> Events(const std::string& job_id) const;
  absl::StatusOr<proto::Placement> GetPlacement(const std::string& job_id) const;
  // OK: the steps are on their way. kUnavailable with reason BUSY where too many are in flight: wait for Changed.
  absl::Status RunSteps(const proto::StepCommand& command);
  // Results from `step` on, at most `limit`; and whether more may come. The job's failure where it failed before `step`.
  struct Results {
    std::vector<proto::StepResult> results;
    bool more = true;
  };
  absl::StatusOr<Results> ResultsFrom(const std::string& job_id, int64_t step, int limit) const;

  // ---- Time, looks, shutdown ----
  void Tick();   // a few times a second
  proto::ClusterReply Cluster() const;
  const std::map<std::string, JobRecord>& jobs() const { return jobs_; }
  const std::map<std::string, WorkerRecord>& workers() const { return workers_; }
  void BeginDrain() { draining_ = true; }
  bool StepsInFlight() const;
  void ReleaseAll(const std::string& why);   // at the end of a drain

 private:
  absl::StatusOr<JobRecord*> Find(const std::string& job_id);
  absl::StatusOr<const JobRecord*> Find(const std::string& job_id) const;
  proto::Job JobOf(const JobRecord& record) const;
  // Sets state and reason and records both. A failing disk is logged; in-memory state goes on.
  absl::Status Change(JobRecord& record, proto::Job::State state, const std::string& reason, const std::string& event);
  void Fail(JobRecord& record, proto::Job::Cause cause, const std::string& reason_word, const std::string& message,
            const std::string& worker, const std::string& op);
  void ReleaseWorkers(JobRecord& record, const absl::Status& cause);
  void Schedule();
  bool TryStart(JobRecord& record);
  std::string WaitReason(const JobRecord& record, int64_t free, int64_t total) const;
  std::vector<DeviceId> FreeDevices(const JobRecord& record, int64_t* total) const;
  void SendPrepare(JobRecord& record);
  void OnPrepared(const WorkerRecord& worker, const proto::Prepared& message);
  void OnStepDone(const WorkerRecord& worker, const proto::StepDone& message);
  void OnWorkerError(JobRecord& record, const WorkerRecord& worker, const proto::WorkerError& error,
                     const std::string& doing);
  void LoseWorker(WorkerRecord& worker, const std::string& why);
  WorkerRecord* WorkerOf(uint64_t session);
  const WorkerRecord* HolderOf(DeviceId device) const;
  absl::Status JobFailure(const JobRecord& record) const;

  const Limits limits_;
  const std::string version_;
  Clock& clock_;
  Store& store_;
  Actions& actions_;
  uint64_t cluster_epoch_ = 0;
  uint64_t next_transport_epoch_ = 1;
  int32_t next_device_ = 0;
  uint64_t next_job_ = 1;
  bool draining_ = false;
  std::map<std::string, WorkerRecord> workers_;              // by name
  std::map<std::string, std::vector<DeviceId>> device_ids_;  // of every name ever seen: stable within the epoch
  std::map<std::string, JobRecord> jobs_;                    // by id
  std::vector<std::string> order_;                           // of submission
  std::map<DeviceId, std::string> device_job_;               // device -> the job that has it
};

}  // namespace alpa::coordinator
