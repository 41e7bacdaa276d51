// The coordinator's core: it knows the workers and the jobs, and decides which job gets which devices.
//
// Model:   Events come in by method calls: a worker registered, a client submitted a job, a plan is ready, time passed.
//          Actions go out through `Actions`: send a message to a worker, plan a job, wake a job's watchers. The core
//          has no sockets, no threads and no clock of its own. A job goes PENDING -> PLANNING (planning, then compiling
//          on its workers) -> RUNNING -> SUCCEEDED | FAILED | STOPPED. The core writes each change of a job's state to
//          the Store before clients can see it. If the Store fails, only a change to FAILED takes effect. The core does
//          not store single steps, because they are cheap to repeat.
// Queue:   First come, first served, on disjoint devices. A waiting job reserves the workers that it may use, so that
//          no later job can starve it. If these workers have fewer devices than the job asks for, the job reserves
//          nothing.
// Threads: thread-compatible: the owner holds one lock around every call. The core calls Actions under that lock;
//          Actions must not call the core.
// Errors:  absl::Status with a reason word (core/errors.h). The core drops stale and invalid messages from workers.
// Start at: Replay, OnRegister, Submit.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/core/records.h"
#include "coordinator/store/store.h"
#include "proto/job_service.pb.h"
#include "proto/worker_service.pb.h"

namespace alpa::coordinator {

class Actions {
 public:
  virtual ~Actions() = default;
  virtual void SendToWorker(uint64_t session, proto::ToWorker message) = 0;
  // Closes the worker's stream. If the owner then reports the end of the stream to the core, the core ignores this
  // report.
  virtual void EndSession(uint64_t session, const absl::Status& why) = 0;
  // Starts to plan the task on another thread. The owner answers with a call of OnPlanned, or of OnChecked if the task
  // has no devices.
  virtual void StartPlanning(PlanTask task) = 0;
  // Wakes the watchers of a job that may have changed.
  virtual void Changed(const std::string& job_id) = 0;
};

class Core {
 public:
  // `clock`, `store` and `actions` must outlive the core.
  Core(Limits limits, std::string version, Clock& clock, Store& store, Actions& actions);

  // Reads the store. Queues PENDING and PLANNING jobs again, and fails RUNNING jobs. Also fails a job whose planning
  // was interrupted Limits::planning_attempts times. kDataLoss if a stored record cannot be parsed.
  // REQUIRES: this is the first call, and the only one.
  absl::Status Replay();

  // ---- Events from workers. `session` is a number that the I/O layer assigns to the stream and never reuses. ----
  // Registers a worker. On kAlreadyExists, kFailedPrecondition or kInvalidArgument nothing has changed. Sends nothing
  // to the worker, because the caller must send the Welcome first.
  absl::StatusOr<proto::Welcome> OnRegister(uint64_t session, const proto::Register& message);
  void OnMessage(uint64_t session, const proto::FromWorker& message);  // any message except Register
  void OnSessionEnd(uint64_t session, const std::string& why);

  // ---- Answers from the planner ----
  // Shows the progress of a PlanTask to the job's watchers. Returns false if the core no longer wants the answer.
  bool OnPlanning(const PlanTask& task, const std::string& progress);
  // Takes the answer to a PlanTask with devices. Drops a stale answer.
  void OnPlanned(const std::string& job_id, uint64_t epoch, absl::StatusOr<Planned> planned);
  // Takes the answer to a PlanTask without devices. If `status` is an error and the job is still PENDING, the job
  // fails.
  void OnChecked(const std::string& job_id, const absl::Status& status);
  // Returns whether the core still wants the answer to this task.
  bool Wants(const PlanTask& task) const;

  // ---- Requests from clients ----
  absl::StatusOr<proto::Job> Submit(const proto::SubmitRequest& request);
  absl::StatusOr<proto::Job> GetJob(const std::string& job_id) const;
  std::vector<proto::Job> ListJobs() const;  // in order of submission, without plans
  // Stops the job. Returns a job in a final state unchanged.
  absl::StatusOr<proto::Job> Stop(const std::string& job_id);
  // Makes a RUNNING job SUCCEEDED, and returns a SUCCEEDED job unchanged. Returns the failure of a FAILED job as an
  // error. kFailedPrecondition in any other state, or if steps are in flight.
  absl::StatusOr<proto::Job> Finish(const std::string& job_id);
  // Deletes a job in a final state; kFailedPrecondition in any other state.
  absl::Status Delete(const std::string& job_id);
  absl::StatusOr<std::vector<StoredEvent>> Events(const std::string& job_id) const;
  absl::StatusOr<proto::Placement> GetPlacement(const std::string& job_id);
  // Accepts a command of steps. Returns OK if the steps will run, even if the client disconnects. Returns kUnavailable
  // with reason BUSY if Limits::steps_in_flight steps are already in flight; call again when the job changes.
  absl::Status RunSteps(const proto::StepCommand& command);
  struct Results {
    std::vector<proto::StepResult> results;
    bool more = true;  // whether the job can have more results later
  };
  // Returns at most `limit` of the kept results, from `step` on. If there are no such results and the job is FAILED or
  // STOPPED, returns the cause as an error.
  absl::StatusOr<Results> ResultsFrom(const std::string& job_id, int64_t step, int limit) const;
  // Counts the client streams that follow the job: `change` is +1 when a stream opens and -1 when a stream closes. A
  // job with an open stream is not idle.
  void CountStream(const std::string& job_id, int change);

  // ---- Time, status, shutdown ----
  // Checks all deadlines. The owner calls it several times per second.
  void Tick();
  proto::ClusterReply Cluster() const;
  // Returns all devices of the workers that are up, with the known facts about their machines.
  cluster::Cluster Inventory() const;
  const std::map<std::string, JobRecord>& jobs() const { return jobs_; }
  const std::map<std::string, WorkerRecord>& workers() const { return workers_; }
  // Returns the value that is shown as the step's loss, or NaN if the step has no such value.
  static double LossOf(const JobRecord& record, const proto::StepResult& result);

  // From now on the core refuses new jobs and steps, and starts no waiting job. Accepted steps go on.
  void BeginDrain() { draining_ = true; }
  bool draining() const { return draining_; }
  bool StepsInFlight() const;
  // Stops all RUNNING jobs, at the end of a drain. PENDING and PLANNING jobs stay in the store, to be queued again. The
  // current attempt to plan a PLANNING job does not count as interrupted, because the coordinator ends in an orderly
  // way.
  void StopRunning(const std::string& why);

 private:
  absl::StatusOr<JobRecord*> Find(const std::string& job_id);
  absl::StatusOr<const JobRecord*> Find(const std::string& job_id) const;
  proto::Job JobOf(const JobRecord& record, bool with_plan) const;
  absl::Status JobFailure(const JobRecord& record) const;
  // Records the job's new state and reason with `event`, then sets the state and the reason. If the store fails,
  // returns the store's error with reason STORAGE and changes nothing.
  absl::Status Change(JobRecord& record, proto::Job::State state, const std::string& reason, const std::string& event);
  void Fail(JobRecord& record, const PendingFailure& failure);
  void Fail(JobRecord& record, proto::Job::Cause cause, absl::string_view reason_word, const std::string& message,
            const std::string& worker = "", const std::string& op = "");
  // Releases the workers and devices of a job that has just reached a final state, and clears the fields that only a
  // running job needs.
  void Retire(JobRecord& record, const absl::Status& cause);
  void TrimResults();

  struct Offer {
    std::vector<DeviceId> devices;  // free and not reserved, best first
    int64_t free = 0, total = 0;    // free devices and all devices of the workers that the job may use
    std::string ahead;              // an earlier waiting job that has reserved one of these workers
  };
  using Reserved = std::map<std::string, std::string>;  // key: worker; value: the waiting job that has reserved it
  Offer OfferFor(const JobRecord& record, const Reserved& reserved) const;
  void Schedule();
  void ScheduleOne(JobRecord& record, Reserved& reserved);
  void StartPlanning(JobRecord& record, std::vector<DeviceId> devices);
  void AskWhetherAcceptable(JobRecord& record);
  // Subtracts the current attempt to plan the job from the job's number of attempts, because this attempt ends for a
  // reason other than the program. The caller stores the record.
  static void UncountAttempt(JobRecord& record);

  void SendPrepare(JobRecord& record, const std::string& executable);
  void OnPrepared(const WorkerRecord& worker, const proto::Prepared& message);
  void OnStepDone(const WorkerRecord& worker, const proto::StepDone& message);
  void OnWorkerError(JobRecord& record, const WorkerRecord& worker, const proto::WorkerError& error,
                     const std::string& doing);
  void LoseWorker(WorkerRecord& worker, const std::string& why);
  WorkerRecord* WorkerOf(uint64_t session);
  const WorkerRecord* HolderOf(DeviceId device) const;

  void FinishStep(JobRecord& record, int64_t step);
  void CheckDeadlines(JobRecord& record, MonotonicTime now);
  void CheckStep(JobRecord& record, MonotonicTime now);

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
  std::map<std::string, WorkerRecord> workers_;              // key: worker name
  std::map<std::string, std::vector<DeviceId>> device_ids_;  // key: worker name; a name keeps its ids for the epoch
  std::map<std::string, JobRecord> jobs_;                    // key: job id
  std::map<uint64_t, JobRecord*> order_;                     // key: job number; order_, queue_, live_ point into jobs_
  std::map<uint64_t, JobRecord*> queue_;                     // PENDING jobs
  std::map<uint64_t, JobRecord*> live_;                      // PLANNING and RUNNING jobs
  std::map<DeviceId, std::string> device_job_;               // key: device; value: the job that holds it
};

}  // namespace alpa::coordinator
