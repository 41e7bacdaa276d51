// The commands alpa submit and alpa run. Both commands run a job directory and write its results to files.

#include <algorithm>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "client/cli/command.h"
#include "client/cli/job_flags.h"
#include "client/cli/local_cluster.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "client/lib/coordinator.h"
#include "client/lib/run_job.h"
#include "plan/plan_request.h"

namespace alpa::client {
namespace {

// Triggers the interruption after `seconds`, unless the Patience object is destroyed earlier. If `seconds` is 0, never
// triggers it.
class Patience {
 public:
  Patience(double seconds, Interruption* interruption) {
    if (seconds <= 0) return;
    thread_ = std::thread([this, seconds, interruption] {
      const MonotonicTime end = Clock::Real().Now() + Duration(static_cast<int64_t>(seconds * 1e9));
      MutexLock lock(mutex_);
      while (!done_ && Clock::Real().Now() < end) changed_.WaitUntil(lock, end);
      if (done_) return;
      interruption->Trigger(WithReason(absl::DeadlineExceededError(absl::StrFormat("not done after %g s", seconds)),
                                       kReasonWaitTimedOut));
    });
  }
  ~Patience() {
    {
      MutexLock lock(mutex_);
      done_ = true;
    }
    changed_.NotifyAll();
    if (thread_.joinable()) thread_.join();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool done_ ALPA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Runs the job, shows its progress, and prints the job for the user. Does not print the error in the result, because
// the caller reports it.
RunResult RunAndReport(Coordinator& coordinator, const JobDirectory& directory, const JobFlags& flags,
                       const RunOptions& options, const Session& session) {
  Progress progress(flags.steps, FancyTerminal());
  std::optional<StepMetrics> last;
  RunEvents events;
  events.message = [&](const std::string& text) {
    progress.End();
    Say(Harmless(text));
  };
  events.running = [&](const proto::Job& job) {
    progress.End();
    std::string line = absl::StrCat("job ", job.job_id(), " runs on ", job.devices_size(),
                                    job.devices_size() == 1 ? " device" : " devices");
    if (job.plan().microbatches() > 1) absl::StrAppend(&line, ", ", job.plan().microbatches(), " microbatches");
    if (const double seconds = job.plan().predicted_step_seconds(); seconds > 0) {
      absl::StrAppend(&line, ", predicted ", Seconds(seconds), " per step");
    }
    Say(line);
  };
  events.step = [&](const StepMetrics& metrics) {
    progress.Step(metrics);
    if (session.jsonl()) Print(MetricsLine(metrics) + "\n", session);
    last = metrics;
  };
  RunResult result = RunJob(coordinator, directory, options, events, session.interruption);
  progress.End();
  if (result.job_id.empty()) return result;
  result.job.set_steps_done(std::max(result.job.steps_done(), result.steps_done));
  if (session.json()) {
    Print(SubmittedJson(result.job, last.has_value() ? &*last : nullptr, result.status.ok() ? flags.output : "") + "\n",
          session);
  } else if (!session.jsonl() && result.left_running) {
    Print(result.job_id + "\n", session);
  }
  if (result.status.ok() && !result.left_running) {
    std::string line = absl::StrCat("job ", result.job_id, " done: ", result.steps_done, " steps");
    if (!flags.output.empty()) absl::StrAppend(&line, ", results in ", flags.output);
    Say(line);
  }
  return result;
}

class SubmitCommand : public Command {
 public:
  std::string name() const override { return "submit"; }
  std::string summary() const override { return "Runs a job directory on a cluster and fetches its results."; }
  std::vector<Flags::Example> examples() const override {
    return {
        {"alpa submit job --steps 100 --output out", "run 100 steps; losses and the final state go to out/"},
        {"alpa submit job --steps 100 --data-parallel 4 --microbatches 2", "four devices, two microbatches on each"},
        {"alpa submit job --steps 100 --pipeline 2 --tensor-parallel 2 --microbatches 8",
         "two stages of two devices each"},
        {"alpa submit job --steps 100 --plan plan.json", "under the plan in a file (alpa plan make writes one)"},
        {"alpa submit job --steps 100 --job-id night-3 --detach", "start the job and leave it running"},
        {"alpa submit job --steps 100 --job-id night-3 --output out", "attach to that job and fetch its results"}};
  }
  void Declare(Flags& flags) override {
    job_.Declare(flags);
    flags.Add("only-workers", &job_.only_workers, "NAMES", "use only devices of these workers");
    flags.Add("job-id", &options_.job_id, "ID", "the job's id; if the job exists, attach to it and continue",
              [](const std::string& id) {
                return id.empty() || IsJobId(id)
                           ? absl::OkStatus()
                           : absl::InvalidArgumentError("expected 1 to 63 characters from a-z, 0-9 and -");
              });
    flags.Add("detach", &options_.detach, "leave after the first step; the job continues");
    flags.Add("timeout", &timeout_, "SECONDS", "leave after SECONDS; the job continues; 0: no limit",
              BetweenReal(0, 1e9));
  }
  int Run() override {
    auto directory = job_.Open();
    if (!directory.ok()) return Report(directory.status(), session, name());
    options_.steps = job_.steps;
    options_.output = job_.output;
    options_.name = job_.name;
    auto plan = job_.PlanOver((*directory)->description().plan);
    if (!plan.ok()) return Report(plan.status(), session, name());
    options_.plan = *std::move(plan);
    Coordinator coordinator(session.address, session.interruption);
    const Patience patience(timeout_, session.interruption);
    const RunResult result = RunAndReport(coordinator, **directory, job_, options_, session);
    const bool unfinished = !result.job_id.empty() && !IsFinal(result.job.state());
    const std::string again =
        absl::StrCat("alpa submit ", job_.Typed(), " --job-id ", result.job_id, AddressFlag(session.address));
    if (result.left_running) {
      Say(absl::StrCat("job ", result.job_id, " continues without this command. Fetch its results: ", again));
      return kExitDone;
    }
    const int code = ExitCodeOf(result.status);
    if (!unfinished || (code != kExitInterrupted && code != kExitTimedOut)) {
      Report(result.status, session, name());
      if (unfinished && !result.status.ok()) {
        Say(absl::StrCat("  job ", result.job_id, " still exists. Continue it: ", again));
        Say(absl::StrCat("  stop it: alpa stop ", result.job_id, AddressFlag(session.address)));
      }
      return code;
    }
    const std::string progress = result.steps_accepted > result.steps_done
                                     ? absl::StrCat("continues to step ", result.steps_accepted)
                                 : result.steps_done > 0 ? absl::StrCat("has done ", result.steps_done, " steps")
                                                         : "has reported no step yet";
    Say(absl::StrCat("alpa submit: ", result.status.message(), "; job ", result.job_id, " ", progress));
    Say(absl::StrCat("  re-attach: ", again));
    Say(absl::StrCat("  stop it:   alpa stop ", result.job_id, AddressFlag(session.address)));
    return code;
  }

 private:
  JobFlags job_;
  RunOptions options_;
  double timeout_ = 0;
};

class RunCommand : public Command {
 public:
  std::string name() const override { return "run"; }
  std::string summary() const override {
    return "Runs a job directory on this machine alone: starts a coordinator and workers, and stops them at the end.";
  }
  std::vector<Flags::Example> examples() const override {
    return {
        {"alpa run --standalone job --steps 100 --output out", "as many devices as the job pins"},
        {"alpa run --standalone job --steps 100 --workers 2 --data-parallel 4", "two workers with two devices each"}};
  }
  void Declare(Flags& flags) override {
    job_.Declare(flags);
    flags.Add("standalone", &standalone_, "start the daemons here (required; for a running cluster, use alpa submit)");
    flags.Add("workers", &cluster_.workers, "N", "number of worker processes", Between(1, 256));
    flags.Add("devices-per-worker", &devices_per_worker_, "N",
              "number of devices of each worker; 0: as many as the job needs", Between(0, 1024));
    flags.Add("threads", &threads_, "T", "threads of each device; 0: an even share of this machine's cores",
              Between(0, 1024));
  }
  int Run() override {
    if (!standalone_) {
      return Report(UsageError("--standalone is missing; add it to run on this machine alone, or use alpa submit"),
                    session, name());
    }
    auto directory = job_.Open();
    if (!directory.ok()) return Report(directory.status(), session, name());
    RunOptions options;
    options.steps = job_.steps;
    options.output = job_.output;
    options.name = job_.name;
    auto plan = job_.PlanOver((*directory)->description().plan);
    if (!plan.ok()) return Report(plan.status(), session, name());
    options.plan = *std::move(plan);
    if (absl::Status sane = plan::Check(options.plan); !sane.ok()) return Report(sane, session, name());
    const int64_t wanted = plan::DevicesNeeded(options.plan);
    cluster_.devices_per_worker =
        devices_per_worker_ > 0 ? devices_per_worker_ : (wanted + cluster_.workers - 1) / cluster_.workers;
    const int64_t devices = cluster_.workers * cluster_.devices_per_worker;
    const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
    cluster_.threads_per_device = threads_ > 0 ? threads_ : std::max<int64_t>(1, cores / devices);
    Say(absl::StrCat("starting a coordinator and ", cluster_.workers, cluster_.workers == 1 ? " worker" : " workers",
                     " with ", cluster_.devices_per_worker, cluster_.devices_per_worker == 1 ? " device" : " devices",
                     " each"));
    auto cluster = LocalCluster::Start(cluster_);
    if (!cluster.ok()) return Report(cluster.status(), session, name());
    session.address = (*cluster)->address();
    Coordinator coordinator(session.address, session.interruption);
    const RunResult result = RunAndReport(coordinator, **directory, job_, options, session);
    if (ExitCodeOf(result.status) == kExitInterrupted) {
      Say(absl::StrCat("alpa run: interrupted at step ", result.steps_done, "; the daemons stop and nothing is kept"));
      return kExitInterrupted;
    }
    if (!result.status.ok()) {
      // If a daemon has ended, reports that first, because the error of the job only follows from it.
      if (const absl::Status daemons = (*cluster)->Check(); !daemons.ok()) Report(daemons, session, name());
    }
    return Report(result.status, session, name());
  }

 private:
  JobFlags job_;
  LocalClusterOptions cluster_;
  int64_t devices_per_worker_ = 0, threads_ = 0;
  bool standalone_ = false;
};

}  // namespace

std::unique_ptr<Command> NewSubmitCommand() { return std::make_unique<SubmitCommand>(); }
std::unique_ptr<Command> NewRunCommand() { return std::make_unique<RunCommand>(); }

}  // namespace alpa::client
