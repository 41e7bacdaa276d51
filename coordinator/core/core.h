// The coordinator's mind: which workers there are, what each job is doing, who may have which devices.
//
// Model:   Events come in by method calls (a worker registered, a client submitted, a plan is ready, time passed);
//          actions go out through `Actions` (send this to that worker, plan this job, a job changed). No sockets, no
//          threads, no clock of its own. A job goes PENDING -> PLANNING (planning, then compiling on its workers) ->
//          RUNNING -> SUCCEEDED | FAILED | STOPPED. Every change of a job that a client may rely on is in the Store
//          before anybody hears of it; steps are not, they are cheap to repeat.
// Queue:   First come, first served, on disjoint devices. A job that waits reserves the workers that it may use, so
// that
//          nobody behind it can starve it; a job that asks for more than the cluster has reserves nothing.
// Threads: thread-compatible: the owner holds one lock around every call. Actions are called under that lock and must
//          not call back.
// Errors:  absl::Status with a reason word (core/errors.h). Messages from workers that are stale or senseless are
//          dropped.
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
  // Gives up the worker's stream. Its end may be reported to the core, which knows already.
  virtual void EndSession(uint64_t session, const absl::Status& why) = 0;
  virtual void StartPlanning(PlanTask task) = 0;
  // A watcher of the job may have something new to see.
  virtual void Changed(const std::string& job_id) = 0;
};

class Core {
 public:
  // All must outlive the core.
  Core(Limits limits, std::string version, Clock& clock, Store& store, Actions& actions);

  // Reads the store. Jobs that were waiting wait again; jobs that ran have failed. REQUIRES: called first, once.
  // kDataLoss for a record that cannot be read.
  absl::Status Replay();

  // ---- From workers. `session` is the rim's number of the stream, never reused. ----
  // Refused (kAlreadyExists, kFailedPrecondition, kInvalidArgument): nothing changed. Sends nothing to the worker: the
  // welcome must be the first message.
  absl::StatusOr<proto::Welcome> OnRegister(uint64_t session, const proto::Register& message);
  void OnMessage(uint64_t session, const proto::FromWorker& message);  // all but Register
  void OnSessionEnd(uint64_t session, const std::string& why);

  // ---- From the planner ----
  // How far a PlanTask has come, for whoever watches the job. False where nobody waits for the answer any more.
  bool OnPlanning(const PlanTask& task, const std::string& progress);
  // The answer to a PlanTask; stale ones are dropped.
  void OnPlanned(const std::string& job_id, uint64_t epoch, absl::StatusOr<Planned> planned);
  // The answer to a PlanTask without devices.
  void OnChecked(const std::string& job_id, const absl::Status& status);
  // False where nobody waits for the answer any more.
  bool Wants(const PlanTask& task) const;

  // ---- From clients ----
  absl::StatusOr<proto::Job> Submit(const proto::SubmitRequest& request);
  absl::StatusOr<proto::Job> GetJob(const std::string& job_id) const;
  std::vector<proto::Job> ListJobs() const;                    // in order of submission, without plans
  absl::StatusOr<proto::Job> Stop(const std::string& job_id);  // of a job in a final state: the job as it is
  absl::StatusOr<proto::Job> Finish(
      const std::string& job_id);                  // REQUIRES no steps in flight; else kFailedPrecondition
  absl::Status Delete(const std::string& job_id);  // only in final states
  absl::StatusOr<std::vector<StoredEvent>> Events(const std::string& job_id) const;
  absl::StatusOr<proto::Placement> GetPlacement(const std::string& job_id);
  // OK: the steps will run, also when the client goes away. kUnavailable with reason BUSY where as many as may be in
  // flight are waiting already: try again when the job changes.
  absl::Status RunSteps(const proto::StepCommand& command);
  struct Results {
    std::vector<proto::StepResult> results;
    bool more = true;  // may come
  };
  // Kept results from `step` on, at most `limit`. Where there are none and the job has failed or was stopped: why.
  absl::StatusOr<Results> ResultsFrom(const std::string& job_id, int64_t step, int limit) const;
  // A stream of a client that follows the job opens (+1) or closes (-1). A job with one is not idle.
  void CountStream(const std::string& job_id, int change);

  // ---- Time, looks, shutdown ----
  void Tick();  // several times a second
  proto::ClusterReply Cluster() const;
  // All devices of the workers that are up, with what is known about their machines.
  cluster::Cluster Inventory() const;
  const std::map<std::string, JobRecord>& jobs() const { return jobs_; }
  const std::map<std::string, WorkerRecord>& workers() const { return workers_; }
  // The value that is shown as the step's loss; NaN where there is none.
  static double LossOf(const JobRecord& record, const proto::StepResult& result);

  void BeginDrain() { draining_ = true; }  // no new jobs, no new steps; accepted ones go on
  bool draining() const { return draining_; }
  bool StepsInFlight() const;
  void StopRunning(const std::string& why);  // at the end of a drain; waiting jobs stay in the store as they are

 private:
  absl::StatusOr<JobRecord*> Find(const std::string& job_id);
  absl::StatusOr<const JobRecord*> Find(const std::string& job_id) const;
  proto::Job JobOf(const JobRecord& record, bool with_plan) const;
  absl::Status JobFailure(const JobRecord& record) const;
  // Sets state and reason, recorded first. On failure (of the disk) nothing has changed.
  absl::Status Change(JobRecord& record, proto::Job::State state, const std::string& reason, const std::string& event);
  void Fail(JobRecord& record, const PendingFailure& failure);
  void Fail(JobRecord& record, proto::Job::Cause cause, absl::string_view reason_word, const std::string& message,
            const std::string& worker = "", const std::string& op = "");
  // After the change to a final state: releases workers and devices, forgets what only a live job needs.
  void Retire(JobRecord& record, const absl::Status& cause);
  void TrimResults();

  struct Offer {
    std::vector<DeviceId> devices;  // free and not reserved, best first
    int64_t free = 0, total = 0;    // of the workers that the job may use
    std::string ahead;              // a job that has reserved one of them
  };
  using Reserved = std::map<std::string, std::string>;  // worker -> job that waits for it
  Offer OfferFor(const JobRecord& record, const Reserved& reserved) const;
  void Schedule();
  void ScheduleOne(JobRecord& record, Reserved& reserved);
  void StartPlanning(JobRecord& record, std::vector<DeviceId> devices);
  void AskWhetherAcceptable(JobRecord& record);

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
  std::map<std::string, WorkerRecord> workers_;              // by name
  std::map<std::string, std::vector<DeviceId>> device_ids_;  // of every name ever seen: stable within the epoch
  std::map<std::string, JobRecord> jobs_;                    // by id
  std::map<uint64_t, JobRecord*> order_;                     // by number; into jobs_, like the next two
  std::map<uint64_t, JobRecord*> queue_;                     // PENDING
  std::map<uint64_t, JobRecord*> live_;                      // PLANNING or RUNNING
  std::map<DeviceId, std::string> device_job_;               // device -> the job that has it
};

}  // namespace alpa::coordinator
