// The commands alpa status, list, logs, stop and delete.

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/lib/coordinator.h"

namespace alpa::client {
namespace {

constexpr Duration kBetweenStepLines = std::chrono::seconds(1);  // minimum time between two step lines of `logs -f`

int64_t NowMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::Real().WallNow().time_since_epoch()).count();
}

// The base class of the commands about jobs. By default, such a command takes the id of one job.
class JobCommand : public Command {
 public:
  void Declare(Flags& flags) override { flags.AddPositional("JOB", &job_id_, "the job's id, as alpa list shows it"); }

 protected:
  Coordinator Connect() { return Coordinator(session.address, session.interruption); }
  int Fail(const absl::Status& status) { return Report(status, session, name()); }

  std::string job_id_;
};

class StatusCommand : public JobCommand {
 public:
  std::string name() const override { return "status"; }
  std::string summary() const override { return "Shows the state, the steps and the plan of one job."; }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa status night-3", "the job as it is now"},
            {"alpa status night-3 --wait", "wait until the job ends; the exit code says how it ended"},
            {"alpa status night-3 -o json | jq .state", "one field, for a script"}};
  }
  void Declare(Flags& flags) override {
    JobCommand::Declare(flags);
    flags.Add("wait", &wait_, "wait until the job ends; the exit code is not 0 if it failed or was stopped");
    flags.Add("timeout", &timeout_, "SECONDS", "with --wait: give up after SECONDS, with exit code 6; 0: no limit",
              BetweenReal(0, 1e9));
  }
  int Run() override {
    Coordinator coordinator = Connect();
    absl::StatusOr<proto::Job> job = wait_ ? coordinator.WatchJob(
                                                 job_id_, [](const proto::Job&) { return true; }, timeout_)
                                           : coordinator.GetJob(job_id_);
    if (!job.ok()) return Fail(job.status());
    Print(session.format == "table" ? JobText(*job, NowMillis()) : JobJson(*job, /*with_plan=*/true) + "\n", session);
    return wait_ ? ExitCodeOf(StatusOfJob(*job)) : kExitDone;
  }

 private:
  bool wait_ = false;
  double timeout_ = 0;
};

class ListCommand : public JobCommand {
 public:
  std::string name() const override { return "list"; }
  std::string summary() const override { return "Lists the jobs that the coordinator knows."; }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa list", "all jobs, oldest first; REASON says why a job waits"},
            {"alpa list --state running,pending", "only jobs in these states"},
            {"alpa list -o jsonl", "one JSON object per line"}};
  }
  void Declare(Flags& flags) override {
    flags.Add("state", &states_, "STATES", "only jobs in these states", [](const std::vector<std::string>& states) {
      for (const std::string& state : states) {
        proto::Job::State parsed;
        if (proto::Job::State_Parse(absl::AsciiStrToUpper(state), &parsed)) continue;
        std::vector<std::string> known;
        for (int i = proto::Job::State_MIN; i <= proto::Job::State_MAX; ++i) {
          known.push_back(absl::AsciiStrToLower(proto::Job::State_Name(i)));
        }
        return InvalidArgument("there is no state '%s'; expected %s", state, absl::StrJoin(known, ", "));
      }
      return absl::OkStatus();
    });
  }
  int Run() override {
    auto reply = Connect().ListJobs();
    if (!reply.ok()) return Fail(reply.status());
    std::vector<proto::Job> jobs;
    for (proto::Job& job : *reply->mutable_jobs()) {
      const bool chosen = states_.empty() || std::any_of(states_.begin(), states_.end(), [&](const std::string& state) {
                            return absl::AsciiStrToUpper(state) == proto::Job::State_Name(job.state());
                          });
      if (chosen) jobs.push_back(std::move(job));
    }
    if (session.format == "table") {
      Print(JobsTable(jobs, NowMillis()), session);
      return kExitDone;
    }
    std::vector<std::string> lines;
    for (const proto::Job& job : jobs) lines.push_back(JobJson(job, /*with_plan=*/false));
    Print(JsonLines(lines, session.json()), session);
    return kExitDone;
  }

 private:
  std::vector<std::string> states_;
};

class LogsCommand : public JobCommand {
 public:
  std::string name() const override { return "logs"; }
  std::string summary() const override { return "Shows the events of a job: submitted, planned, running, failed."; }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa logs night-3", "the events so far"},
            {"alpa logs night-3 -f", "the events so far, then new events and steps until the job ends"}};
  }
  void Declare(Flags& flags) override {
    JobCommand::Declare(flags);
    flags.Add("follow,f", &follow_, "also print new events and steps until the job ends");
  }
  int Run() override {
    if (follow_ && session.json())
      return Fail(UsageError("--follow does not work with -o json; use -o jsonl"));
    Coordinator coordinator = Connect();
    if (absl::Status status = ReadEvents(coordinator); !status.ok()) return Fail(status);
    if (session.json()) Print(JsonLines(lines_, /*as_array=*/true), session);
    if (!follow_) return kExitDone;
    int64_t changed = 0, steps = -1;
    MonotonicTime last_line{};
    auto job = coordinator.WatchJob(job_id_, [&](const proto::Job& now) {
      const MonotonicTime time = Clock::Real().Now();
      const bool due =
          time - last_line >= kBetweenStepLines || now.steps_done() == now.total_steps() || IsFinal(now.state());
      if (now.steps_done() > steps && now.steps_done() > 0 && due) {
        Print(StepsLine(now, NowMillis(), session.jsonl()) + "\n", session);
        steps = now.steps_done();
        last_line = time;
      }
      // An error of ReadEvents is ignored here. If the coordinator does not answer, WatchJob reports an error.
      if (now.changed_unix_ms() != changed) ReadEvents(coordinator).IgnoreError();
      changed = now.changed_unix_ms();
      return true;
    });
    if (session.interruption != nullptr && session.interruption->triggered()) return kExitInterrupted;
    if (!job.ok()) return Fail(job.status());
    return Fail(ReadEvents(coordinator));
  }

 private:
  // Prints the events that no earlier call has read. With -o json, appends these events to lines_ and prints nothing.
  absl::Status ReadEvents(Coordinator& coordinator) {
    return coordinator.GetEvents(job_id_, [&](const proto::JobEvent& event) {
      if (event.sequence() <= seen_) return;
      seen_ = event.sequence();
      const std::string line = EventLine(event, session.format != "table");
      if (session.json()) {
        lines_.push_back(line);
      } else {
        Print(line + "\n", session);
      }
    });
  }

  bool follow_ = false;
  int64_t seen_ = 0;
  std::vector<std::string> lines_;
};

class StopCommand : public JobCommand {
 public:
  std::string name() const override { return "stop"; }
  std::string summary() const override { return "Stops a job and drops its state on the workers."; }
  std::vector<Flags::Example> examples() const override { return {{"alpa stop night-3", "stop the job now"}}; }
  int Run() override {
    Coordinator coordinator = Connect();
    const absl::StatusOr<proto::Job> before = coordinator.GetJob(job_id_);
    if (!before.ok()) return Fail(before.status());
    const absl::StatusOr<proto::Job> job = coordinator.StopJob(job_id_);
    if (!job.ok()) return Fail(job.status());
    if (session.format != "table") Print(JobJson(*job, /*with_plan=*/false) + "\n", session);
    const std::string state = proto::Job::State_Name(job->state());
    Say(IsFinal(before->state())
            ? absl::StrCat("job ", job_id_, " had already ended: ", state)
            : absl::StrCat("job ", job_id_, " is ", state, " after ", job->steps_done(), " steps"));
    return kExitDone;
  }
};

class DeleteCommand : public JobCommand {
 public:
  std::string name() const override { return "delete"; }
  std::string summary() const override { return "Deletes the coordinator's record of a job that has ended."; }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa delete night-3", "afterwards the id can be used again"}};
  }
  int Run() override {
    Coordinator coordinator = Connect();
    if (absl::Status status = coordinator.DeleteJob(job_id_); !status.ok()) return Fail(status);
    if (session.format != "table") Print(absl::StrCat("{\"deleted\":", JsonString(job_id_), "}\n"), session);
    Say(absl::StrCat("job ", job_id_, " deleted"));
    return kExitDone;
  }
};

}  // namespace

std::vector<std::unique_ptr<Command>> NewJobCommands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<StatusCommand>());
  commands.push_back(std::make_unique<ListCommand>());
  commands.push_back(std::make_unique<LogsCommand>());
  commands.push_back(std::make_unique<StopCommand>());
  commands.push_back(std::make_unique<DeleteCommand>());
  return commands;
}

}  // namespace alpa::client
