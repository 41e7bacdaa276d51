#include "client/lib/run_job.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "client/lib/batch_slots.h"
#include "client/lib/outcome.h"
#include "client/lib/tensor_link.h"
#include "plan/serialize.h"

namespace alpa::client {
namespace {

// After a failed call, the client waits this number of seconds for the coordinator to report why the job failed.
constexpr double kFailureWaitSeconds = 2;

std::string InFolder(const std::string& folder, const char* name) {
  return (std::filesystem::path(folder) / name).string();
}

Bytes BytesOf(const JobDirectory& directory, plan::InputRole::Kind kind) {
  Bytes bytes = 0;
  for (int input : directory.InputsOf(kind)) bytes += directory.description().inputs[input].bytes();
  return bytes;
}

class JobRun {
 public:
  JobRun(Coordinator& coordinator, const JobDirectory& directory, const RunOptions& options, const RunEvents& events,
         Interruption* interruption)
      : coordinator_(coordinator),
        directory_(directory),
        job_(directory.description()),
        options_(options),
        events_(events),
        interruption_(interruption),
        slots_(job_.batches, BytesOf(directory, plan::InputRole::Kind::kBatch), options.steps) {}
  ~JobRun() {
    if (!metrics_temporary_.empty()) unlink(metrics_temporary_.c_str());
  }

  void Run();
  RunResult result;

 private:
  absl::Status RunAll();
  absl::Status OpenOutput();
  absl::Status SubmitAndWait();
  absl::Status TakePastSteps();
  absl::Status PutState();
  absl::Status PutBatches(const BatchSlots::Command& command);
  // Requests all steps that remain, and reads their results. With RunOptions::detach, reads only the first result.
  absl::Status RunSteps();
  absl::Status ReadUntil(Coordinator::StepStream& stream, int64_t step);
  // Watches steps that another process has requested, up to the end of the command that contains the next step.
  absl::Status FollowSteps();
  absl::Status TakeStep(const proto::StepResult& step);
  absl::Status WriteOutput();
  // Returns why the run ended early: the reason that the job itself reports, or `status` if the job reports none.
  absl::Status Explain(const absl::Status& status);

  Coordinator& coordinator_;
  const JobDirectory& directory_;
  const JobDescription& job_;
  const RunOptions& options_;
  const RunEvents& events_;
  Interruption* const interruption_;
  const BatchSlots slots_;
  std::unique_ptr<TensorLink> link_;
  BatchSlots::Command sent_;  // the last step command that was sent
  std::ofstream metrics_;
  std::string metrics_temporary_;
};

void JobRun::Run() {
  const absl::Status status = RunAll();
  const bool known = status.ok() || ReasonOf(status) == kReasonUsage || IsFinal(result.job.state());
  result.status = known ? status : Explain(status);
}

absl::Status JobRun::RunAll() {
  if (options_.detach && !slots_.all_fit()) {
    return WithReason(
        InvalidArgument("--detach is not possible: the %d batches do not all fit on the workers, so this process must "
                        "send batches while steps run",
                        job_.batches),
        kReasonUsage);
  }
  ALPA_RETURN_IF_ERROR(OpenOutput());
  ALPA_RETURN_IF_ERROR(SubmitAndWait());
  ALPA_ASSIGN_OR_RETURN(const proto::Placement placed, coordinator_.GetPlacement(result.job_id));
  ALPA_ASSIGN_OR_RETURN(Placement placement, Placement::FromProto(placed, job_.inputs, job_.outputs));
  link_ = std::make_unique<TensorLink>(result.job_id, std::move(placement), interruption_);
  ALPA_RETURN_IF_ERROR(TakePastSteps());
  while (result.steps_done < options_.steps && !result.left_running) {
    absl::Status ran = RunSteps();
    // STALE_STATE: another process has requested steps of this job. Follows these steps first.
    if (ReasonOf(ran) == "STALE_STATE" && !options_.job_id.empty()) ran = FollowSteps();
    ALPA_RETURN_IF_ERROR(ran);
  }
  if (result.left_running) return absl::OkStatus();
  ALPA_RETURN_IF_ERROR(WriteOutput());
  ALPA_ASSIGN_OR_RETURN(result.job, coordinator_.FinishJob(result.job_id));
  return absl::OkStatus();
}

absl::Status JobRun::OpenOutput() {
  if (options_.output.empty()) return absl::OkStatus();
  std::error_code error;
  std::filesystem::create_directories(options_.output, error);
  metrics_temporary_ = InFolder(options_.output, "metrics.jsonl") + absl::StrCat(".tmp.", getpid());
  metrics_.open(metrics_temporary_, std::ios::trunc);
  if (!metrics_) {
    metrics_temporary_.clear();
    return WithReason(InvalidArgument("cannot write to the output folder %s%s%s", options_.output, error ? ": " : "",
                                      error ? error.message() : ""),
                      kReasonUsage);
  }
  return absl::OkStatus();
}

absl::Status JobRun::SubmitAndWait() {
  ALPA_ASSIGN_OR_RETURN(const uint64_t hash, coordinator_.UploadProgram(directory_.program()));
  proto::SubmitRequest request;
  // The client chooses the id, so that a repeated request refers to the same job.
  request.set_job_id(options_.job_id.empty() ? NewJobId(job_.name) : options_.job_id);
  request.set_name(options_.name.empty() ? job_.name : options_.name);
  request.set_program_hash(hash);
  plan::ToProto(job_.roles, request.mutable_roles());
  *request.mutable_plan() = options_.plan;
  request.set_total_steps(options_.steps);
  absl::StatusOr<proto::Job> submitted = coordinator_.Submit(request);
  if (!submitted.ok()) {
    // The request may have reached the coordinator although it was interrupted.
    if (interruption_ != nullptr && interruption_->triggered()) result.job_id = request.job_id();
    return submitted.status();
  }
  result.job = *std::move(submitted);
  result.job_id = result.job.job_id();
  events_.message(absl::StrCat("job ", result.job_id, " submitted"));
  std::string last_text;
  ALPA_ASSIGN_OR_RETURN(result.job, coordinator_.WatchJob(result.job_id, [&](const proto::Job& now) {
    std::string text = proto::Job::State_Name(now.state());
    if (!now.reason().empty()) absl::StrAppend(&text, ": ", now.reason());
    if (text != last_text && (now.state() == proto::Job::PENDING || now.state() == proto::Job::PLANNING)) {
      events_.message(absl::StrCat("job ", result.job_id, " ", text));
    }
    last_text = text;
    return now.state() != proto::Job::RUNNING;
  }));
  if (result.job.state() == proto::Job::SUCCEEDED) {
    return FailedPrecondition(
        "job %s has already SUCCEEDED and its state is released; submit under another --job-id", result.job_id);
  }
  ALPA_RETURN_IF_ERROR(StatusOfJob(result.job));
  events_.running(result.job);
  return absl::OkStatus();
}

absl::Status JobRun::TakePastSteps() {
  const int64_t done = result.job.steps_done();
  if (done == 0) return absl::OkStatus();
  events_.message(
      absl::StrFormat("job %s already exists; %d of %d steps are done", result.job_id, done, options_.steps));
  int64_t oldest = 0;
  ALPA_RETURN_IF_ERROR(coordinator_.WatchSteps(result.job_id, 1, done, [&](const proto::StepResult& step) {
    if (oldest == 0) oldest = step.step();
    TakeStep(step).IgnoreError();  // a full disk is reported when the file is closed
  }));
  if (oldest != 1) events_.message("the metrics of the job's first steps are no longer kept");
  result.steps_done = std::max(result.steps_done, done);
  return absl::OkStatus();
}

absl::Status JobRun::PutState() {
  std::vector<TensorLink::Source> sources;
  for (int input : directory_.InputsOf(plan::InputRole::Kind::kState)) {
    sources.push_back({input, /*version=*/0, directory_.state(input)});
  }
  const MonotonicTime begin = Clock::Real().Now();
  ALPA_RETURN_IF_ERROR(link_->Put(proto::LeafRef::STATE, sources));
  const double seconds = std::chrono::duration<double>(Clock::Real().Now() - begin).count();
  const double megabytes = static_cast<double>(BytesOf(directory_, plan::InputRole::Kind::kState)) / 1e6;
  events_.message(absl::StrFormat("sent the state to the workers: %.3g MB in %.2g s", megabytes, seconds));
  return absl::OkStatus();
}

absl::Status JobRun::PutBatches(const BatchSlots::Command& command) {
  const std::vector<int> inputs = directory_.InputsOf(plan::InputRole::Kind::kBatch);
  std::vector<TensorLink::Source> sources;
  for (int32_t i = 0; i < command.slots; ++i) {
    const int64_t batch = (command.first - 1 + i) % job_.batches;
    for (int input : inputs) sources.push_back({input, command.first_slot + i, directory_.batch(batch, input)});
  }
  return link_->Put(proto::LeafRef::BATCH, sources);
}

absl::Status JobRun::RunSteps() {
  if (result.steps_done == 0) ALPA_RETURN_IF_ERROR(PutState());
  const std::unique_ptr<Coordinator::StepStream> stream = coordinator_.RunSteps(result.job_id);
  const int64_t begin = result.steps_done + 1;
  for (int64_t at = begin; at <= options_.steps; at = sent_.last + 1) {
    const BatchSlots::Command next = slots_.From(at);
    ALPA_RETURN_IF_ERROR(ReadUntil(*stream, next.free_after));
    ALPA_RETURN_IF_ERROR(PutBatches(next));
    proto::StepCommand command;
    command.set_job_id(result.job_id);
    command.set_epoch(link_->placement().epoch);
    command.set_first_step(next.first);
    command.set_count(next.last - next.first + 1);
    command.set_first_batch_slot(next.first_slot);
    command.set_batch_slots(next.slots);
    if (!stream->Send(command)) return ReadUntil(*stream, options_.steps);  // ReadUntil returns why the stream ended
    sent_ = next;
  }
  const int64_t last = options_.detach ? begin : options_.steps;
  ALPA_RETURN_IF_ERROR(ReadUntil(*stream, last));
  result.left_running = options_.detach && last < options_.steps;
  return absl::OkStatus();
}

absl::Status JobRun::ReadUntil(Coordinator::StepStream& stream, int64_t step) {
  proto::StepResult got;
  while (result.steps_done < step) {
    if (!stream.Next(got)) {
      ALPA_RETURN_IF_ERROR(stream.Finish());
      return FailedPrecondition("job %s ended after %d of %d steps", result.job_id, result.steps_done, options_.steps);
    }
    ALPA_RETURN_IF_ERROR(TakeStep(got));
  }
  return absl::OkStatus();
}

absl::Status JobRun::FollowSteps() {
  const int64_t until = slots_.From(result.steps_done + 1).last;
  const int64_t before = result.steps_done;
  result.steps_accepted = std::max(result.steps_accepted, until);
  if (options_.detach) {
    result.left_running = true;
    return absl::OkStatus();
  }
  ALPA_RETURN_IF_ERROR(coordinator_.WatchSteps(result.job_id, before + 1, until, [&](const proto::StepResult& step) {
    TakeStep(step).IgnoreError();  // a full disk is reported when the file is closed
  }));
  if (result.steps_done > before) return absl::OkStatus();
  return FailedPrecondition("job %s ended after %d of %d steps", result.job_id, result.steps_done, options_.steps);
}

absl::Status JobRun::TakeStep(const proto::StepResult& step) {
  result.steps_done = std::max(result.steps_done, step.step());
  result.steps_accepted = std::max(result.steps_accepted, step.step());
  if (step.step() >= sent_.first) result.steps_accepted = std::max(result.steps_accepted, sent_.last);
  const StepMetrics metrics = MetricsOf(step, job_);
  events_.step(metrics);
  if (metrics_.is_open()) {
    metrics_ << MetricsLine(metrics) << "\n";
    if (!metrics_) return FailedPrecondition("writing %s failed: is the disk full?", metrics_temporary_);
  }
  return absl::OkStatus();
}

absl::Status JobRun::WriteOutput() {
  if (options_.output.empty()) return absl::OkStatus();
  std::vector<std::string> state_names, aux_names;
  std::vector<graph::Shape> state_shapes, aux_shapes;
  std::vector<TensorLink::Target> state, aux;
  for (int input : directory_.InputsOf(plan::InputRole::Kind::kState)) {
    state_names.push_back(job_.roles.inputs[input].path);
    state_shapes.push_back(job_.inputs[input]);
    state.push_back({input, {}});
  }
  for (size_t i = 0; i < job_.outputs.size(); ++i) {
    if (job_.roles.outputs[i].kind != plan::OutputRole::Kind::kAux) continue;
    aux_names.push_back(job_.roles.outputs[i].path);
    aux_shapes.push_back(job_.outputs[i]);
    aux.push_back({static_cast<int>(i), {}});
  }
  ALPA_ASSIGN_OR_RETURN(auto state_file, SafetensorsWriter::Create(InFolder(options_.output, "state.safetensors"),
                                                                   state_names, state_shapes));
  ALPA_ASSIGN_OR_RETURN(auto aux_file,
                        SafetensorsWriter::Create(InFolder(options_.output, "aux.safetensors"), aux_names, aux_shapes));
  for (size_t i = 0; i < state.size(); ++i) state[i].bytes = state_file->bytes(i);
  for (size_t i = 0; i < aux.size(); ++i) aux[i].bytes = aux_file->bytes(i);
  ALPA_RETURN_IF_ERROR(link_->Get(proto::LeafRef::STATE, options_.steps, state));
  ALPA_RETURN_IF_ERROR(link_->Get(proto::LeafRef::AUX, options_.steps, aux));
  metrics_.close();
  if (!metrics_) return FailedPrecondition("writing %s failed: is the disk full?", metrics_temporary_);
  ALPA_RETURN_IF_ERROR(state_file->Commit());
  ALPA_RETURN_IF_ERROR(aux_file->Commit());
  ALPA_RETURN_IF_ERROR(CommitFile(metrics_temporary_, InFolder(options_.output, "metrics.jsonl")));
  metrics_temporary_.clear();
  return absl::OkStatus();
}

absl::Status JobRun::Explain(const absl::Status& status) {
  if (interruption_ != nullptr && interruption_->triggered()) return interruption_->status();
  if (status.ok() || result.job_id.empty()) return status;
  // If a worker is lost, a call of the client can fail before the coordinator notices the loss. So waits until the
  // coordinator reports the failure.
  absl::StatusOr<proto::Job> job = coordinator_.WatchJob(
      result.job_id, [](const proto::Job&) { return true; }, kFailureWaitSeconds);
  if (interruption_ != nullptr && interruption_->triggered()) return interruption_->status();
  if (!job.ok()) return status;
  result.job = *std::move(job);
  ALPA_RETURN_IF_ERROR(StatusOfJob(result.job));
  return status;
}

}  // namespace

bool IsJobId(absl::string_view id) {
  return !id.empty() && id.size() <= 63 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::string NewJobId(absl::string_view name) {
  std::string id;
  for (char c : name.substr(0, 48)) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) {
      id += absl::ascii_tolower(static_cast<unsigned char>(c));
    } else if (!id.empty() && id.back() != '-') {
      id += '-';
    }
  }
  if (!id.empty() && id.back() != '-') id += '-';
  return id + absl::StrFormat("%08x", std::random_device()());
}

RunResult RunJob(Coordinator& coordinator, const JobDirectory& directory, const RunOptions& options,
                 const RunEvents& events, Interruption* interruption) {
  JobRun run(coordinator, directory, options, events, interruption);
  run.Run();
  return std::move(run.result);
}

}  // namespace alpa::client
