// The commands alpa plan show, alpa plan verify, alpa plan lower, alpa plan make and alpa simulate. They work with plan
// files on this machine and need no running cluster.

#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/job_flags.h"
#include "client/cli/output.h"
#include "cluster/toml/inventory_toml.h"
#include "plan/plan_file.h"
#include "plan/plan_request.h"
#include "plan/serialize.h"
#include "planner/job_plan.h"
#include "planner/search/search.h"
#include "planner/simulate/simulate.h"

namespace alpa::client {
namespace {

struct Job {
  proto::PlanRequest pins;
  planner::JobProgram program;
};

// Opens a job directory and imports its program. `path` is the directory, or the program file in the directory.
absl::StatusOr<Job> OpenJob(const std::string& path) {
  if (path.empty()) return UsageError("--job is missing; name the job directory of the plan's program");
  std::error_code none;
  const bool is_file = std::filesystem::is_regular_file(path, none);
  const std::string directory = is_file ? std::filesystem::absolute(path).parent_path().string() : path;
  const auto opened = JobDirectory::OpenProgram(directory);
  if (!opened.ok()) return UsageError(opened.status().message());
  proto::Roles roles;
  plan::ToProto((*opened)->description().roles, &roles);
  const std::span<const uint8_t> bytes = (*opened)->program();
  auto imported = planner::ImportProgram({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, roles);
  if (!imported.ok()) return imported.status();
  return Job{(*opened)->description().plan, planner::Simplified(*imported)};
}

absl::StatusOr<cluster::Cluster> OpenCluster(const std::string& path) {
  const auto file = MappedFile::Open(path);
  if (!file.ok()) return UsageError(file.status().message());
  const std::span<const uint8_t> bytes = (*file)->bytes();
  auto cluster = cluster::ReadInventory({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!cluster.ok()) return UsageError(absl::StrCat(path, ": ", cluster.status().message()));
  return cluster;
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  return file.good() ? absl::OkStatus() : UsageError(absl::StrCat("cannot write ", path));
}

class PlanCommand : public Command {
 public:
  void Declare(Flags& flags) override {
    flags.AddPositional("FILE", &file_, "a plan file, written by alpa plan make or run.plan.save()");
    flags.Add("job", &job_, "DIR", "the job directory of the plan's program");
  }

 protected:
  // Reads the job directory and the plan file, and verifies the plan. Sets the three outputs.
  absl::Status Read(Job* job, proto::Plan* message, plan::Plan* plan) const {
    auto given = ReadPlanFile(file_);
    if (!given.ok()) return given.status();
    auto opened = OpenJob(job_);
    if (!opened.ok()) return opened.status();
    auto read = planner::ReadGivenPlan(*given, opened->program);
    if (!read.ok()) return read.status();
    *job = *std::move(opened);
    *message = *std::move(given);
    *plan = *std::move(read);
    return absl::OkStatus();
  }

  struct Lowered {
    plan::Plan plan;
    int64_t devices = 0;
    plan::Executable executable;
  };
  // Reads the plan and lowers it. Only lowering shows whether the program can be cut into the stages of the plan.
  absl::StatusOr<Lowered> ReadAndLower() const {
    Job job;
    proto::Plan message;
    Lowered lowered;
    if (absl::Status read = Read(&job, &message, &lowered.plan); !read.ok()) return read;
    auto executable = planner::LowerJob(lowered.plan, job.program, /*given=*/true);
    if (!executable.ok()) return executable.status();
    lowered.executable = *std::move(executable);
    lowered.devices = plan::DeviceCount(message);
    return lowered;
  }

  std::string file_, job_;
};

class ShowCommand : public PlanCommand {
 public:
  std::string name() const override { return "plan show"; }
  std::string summary() const override { return "Prints a plan file in human-readable form."; }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa plan show plan.json", "stages, meshes, microbatches"},
            {"alpa plan show plan.json --job job", "also the leaves of the program, with their names and sizes"}};
  }
  int Run() override {
    if (job_.empty()) {
      const auto given = ReadPlanFile(file_);
      if (!given.ok()) return Report(given.status(), session, name());
      const auto plan = plan::FromProto(*given);
      if (!plan.ok()) return Report(UsageError(absl::StrCat(file_, ": ", plan.status().message())), session, name());
      return PrintResult(*given, plan::Print(*plan));
    }
    Job job;
    proto::Plan message;
    plan::Plan plan;
    if (absl::Status read = Read(&job, &message, &plan); !read.ok()) return Report(read, session, name());
    return PrintResult(message, plan::Print(plan, job.program.graph, job.program.roles));
  }

 private:
  int PrintResult(const proto::Plan& message, const std::string& text) {
    Print(session.format == "table" ? Harmless(text) : plan::PlanFileText(message), session);
    return kExitDone;
  }
};

class VerifyCommand : public PlanCommand {
 public:
  std::string name() const override { return "plan verify"; }
  std::string summary() const override { return "Checks whether a plan file fits a program, and says why if not."; }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa plan verify plan.json --job job", "exit code 0 if the plan fits, 4 if it does not"}};
  }
  int Run() override {
    const auto lowered = ReadAndLower();
    if (!lowered.ok()) return Report(lowered.status(), session, name());
    const plan::Plan& plan = lowered->plan;
    Print(session.format == "table"
              ? absl::StrCat(file_, " fits ", job_, ": ", plan.stages.size(), " stages on ", lowered->devices,
                             " devices, ", plan.microbatches, " microbatches\n")
              : absl::StrCat("{\"stages\":", plan.stages.size(), ",\"devices\":", lowered->devices,
                             ",\"microbatches\":", plan.microbatches, "}\n"),
          session);
    return kExitDone;
  }
};

class LowerCommand : public PlanCommand {
 public:
  std::string name() const override { return "plan lower"; }
  std::string summary() const override {
    return "Prints the executable of a plan: stage programs, edges and instruction lists.";
  }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa plan lower plan.json --job job", "text only; there is no JSON form"}};
  }
  int Run() override {
    if (session.format != "table") {
      return Report(UsageError("alpa plan lower prints only text; leave out -o"), session, name());
    }
    const auto lowered = ReadAndLower();
    if (!lowered.ok()) return Report(lowered.status(), session, name());
    Print(Harmless(plan::Print(lowered->executable)), session);
    return kExitDone;
  }
};

class SimulateCommand : public PlanCommand {
 public:
  std::string name() const override { return "simulate"; }
  std::string summary() const override {
    return "Predicts the time and the memory of a step under a plan on a cluster.";
  }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa simulate plan.json --job job --cluster cluster.toml", "the step, then each mesh"},
            {"alpa simulate plan.json --job job --cluster cluster.toml --trace step.json",
             "also a trace for chrome://tracing or ui.perfetto.dev"}};
  }
  void Declare(Flags& flags) override {
    PlanCommand::Declare(flags);
    flags.Add("cluster", &cluster_, "FILE", "the machines, as TOML (docs/clusters.md)");
    flags.Add("trace", &trace_, "FILE", "write a trace of the step to FILE, in Chrome's format");
  }
  int Run() override {
    if (cluster_.empty()) {
      return Report(UsageError("--cluster is missing; name a TOML file that describes the machines"), session, name());
    }
    const auto cluster = OpenCluster(cluster_);
    if (!cluster.ok()) return Report(cluster.status(), session, name());
    const auto lowered = ReadAndLower();
    if (!lowered.ok()) return Report(lowered.status(), session, name());
    const auto simulation = planner::Simulate(lowered->executable, *cluster);
    if (!simulation.ok()) return Report(UsageError(simulation.status().message()), session, name());
    if (!trace_.empty()) {
      const absl::Status written = WriteFile(trace_, TraceOf(*simulation, lowered->executable));
      if (!written.ok()) return Report(written, session, name());
    }
    Print(session.format == "table"
              ? planner::Print(*simulation)
              : absl::StrFormat("{\"step_seconds\":%.9g,\"peak_device_bytes\":%d,\"collectives\":%d,\"messages\":%d}\n",
                                simulation->step_seconds, simulation->peak_device_memory(), simulation->collectives,
                                simulation->messages),
          session);
    return kExitDone;
  }

 private:
  // Returns the events of a trace in Chrome's format, with one row per mesh and times in microseconds.
  static std::string TraceOf(const planner::Simulation& simulation, const plan::Executable& executable) {
    std::vector<std::string> events;
    for (const planner::Span& span : simulation.spans) {
      events.push_back(absl::StrFormat("{\"name\":%s,\"ph\":\"X\",\"pid\":0,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f}",
                                       JsonString(executable.programs[span.program].name), span.mesh, 1e6 * span.begin,
                                       1e6 * (span.end - span.begin)));
    }
    return absl::StrCat("{\"traceEvents\":[\n", absl::StrJoin(events, ",\n"), "\n]}\n");
  }

  std::string cluster_, trace_;
};

class MakeCommand : public Command {
 public:
  std::string name() const override { return "plan make"; }
  std::string summary() const override { return "Makes a plan file for a job directory, without running anything."; }
  std::vector<Flags::Example> examples() const override {
    return {{"alpa plan make --job job --pipeline 2 --microbatches 8 --output plan.json",
             "then alpa submit job --plan plan.json"},
            {"alpa plan make --job job --devices 4", "data parallel on four devices; the file goes to stdout"},
            {"alpa plan --job job --cluster cluster.toml --explain",
             "the fastest plan found for this cluster, and all candidates"}};
  }
  void Declare(Flags& flags) override {
    flags.AddPositional("JOB", &named_, "same as --job", /*required=*/false);
    flags.Add("job", &job_, "DIR", "the job directory of the program to plan");
    flags.Add("graph", &graph_, "DIR", "same as --job");
    flags.Add("output", &output_, "FILE", "write the plan to FILE (default: stdout)");
    flags.Add("cluster", &cluster_, "FILE",
              "the machines, as TOML (docs/clusters.md); the search decides everything that is not pinned");
    flags.Add("explain", &explain_, "with --cluster: print every candidate with its predicted time, or why it failed");
    flags.Add("search-seconds", &seconds_, "SECONDS",
              "with --cluster: time limit of the search; after it, the best plan so far is used");
    pins_.Declare(flags);
  }
  int Run() override {
    std::vector<std::string> paths = {named_, job_, graph_};
    std::erase(paths, "");
    if (paths.size() > 1) {
      return Report(UsageError("JOB, --job and --graph mean the same; give only one"), session, name());
    }
    const auto job = OpenJob(paths.empty() ? "" : paths[0]);
    if (!job.ok()) return Report(job.status(), session, name());
    const proto::PlanRequest request = pins_.Over(job->pins);
    if (absl::Status sane = plan::Check(request); !sane.ok()) return Report(sane, session, name());
    const auto plan = cluster_.empty() ? PlanFromPins(*job, request) : PlanBySearch(*job, request);
    if (!plan.ok()) return Report(plan.status(), session, name());
    proto::Plan message;
    plan::ToProto(plan::Numbered(*plan), &message);
    const std::string text = plan::PlanFileText(message);
    Say(Harmless(plan::Print(*plan, job->program.graph, job->program.roles)));
    if (output_.empty()) {
      Print(text, session);
      return kExitDone;
    }
    if (absl::Status written = WriteFile(output_, text); !written.ok()) return Report(written, session, name());
    return kExitDone;
  }

 private:
  static absl::StatusOr<plan::Plan> PlanFromPins(const Job& job, const proto::PlanRequest& request) {
    std::vector<DeviceId> devices;
    for (int64_t i = 0; i < plan::DevicesNeeded(request); ++i) devices.push_back(DeviceId(static_cast<int32_t>(i)));
    return planner::PlanJob(job.program, request, devices);
  }

  absl::StatusOr<plan::Plan> PlanBySearch(const Job& job, const proto::PlanRequest& request) const {
    const auto cluster = OpenCluster(cluster_);
    if (!cluster.ok()) return cluster.status();
    planner::SearchLimits limits;
    limits.seconds = seconds_;
    limits.progress = [](const planner::SearchProgress& progress) {
      Say(absl::StrFormat("[%d] %s", progress.evaluated + 1, progress.next.name));
      return true;
    };
    auto searched = planner::SearchJob(job.program, request, *cluster, limits);
    if (!searched.ok()) return searched.status();
    if (!searched->complete) Say("the search reached its time limit (--search-seconds); this is the best plan so far");
    for (const std::string& bug : searched->bugs) {
      Say(Harmless(absl::StrCat("a bug in the planner, please report it: ", bug)));
    }
    if (explain_) Say(Harmless(planner::PrintCandidates(*searched, searched->candidates.size())));
    return std::move(searched->plan);
  }

  std::string named_, job_, graph_, output_, cluster_;
  bool explain_ = false;
  double seconds_ = 600;
  PlanFlags pins_;
};

}  // namespace

std::vector<std::unique_ptr<Command>> NewPlanCommands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(std::make_unique<ShowCommand>());
  commands.push_back(std::make_unique<VerifyCommand>());
  commands.push_back(std::make_unique<LowerCommand>());
  commands.push_back(std::make_unique<MakeCommand>());
  commands.push_back(std::make_unique<SimulateCommand>());
  return commands;
}

}  // namespace alpa::client
