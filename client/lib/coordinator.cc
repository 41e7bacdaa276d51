#include "client/lib/coordinator.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "client/lib/channel.h"
#include "client/lib/outcome.h"

namespace alpa::client {
namespace {

constexpr double kCallSeconds = 30;       // deadline of short calls
constexpr double kSubmitSeconds = 660;    // a submission may include planning, which takes at most 10 minutes
constexpr double kUploadSeconds = 600;    // deadline for uploading one program
constexpr size_t kUploadChunk = 1 << 20;  // bytes per message; the protocol allows at most 1 MiB

proto::JobRequest ForJob(const std::string& job_id) {
  proto::JobRequest request;
  request.set_job_id(job_id);
  return request;
}

}  // namespace

Coordinator::Coordinator(std::string address, Interruption* interruption)
    : address_(std::move(address)),
      interruption_(interruption),
      stub_(proto::JobService::NewStub(MakeChannel(address_, /*own_connection=*/false))) {}

absl::StatusOr<uint64_t> Coordinator::UploadProgram(std::span<const uint8_t> program) {
  const uint64_t hash = XXH64(program.data(), program.size(), 0);
  const std::string doing = absl::StrCat("uploading the program to ", address_);
  proto::UploadReply reply;
  {
    proto::QueryUploadRequest request;
    request.set_hash(hash);
    request.set_total_size(static_cast<int64_t>(program.size()));
    Call call(interruption_, kCallSeconds);
    ALPA_RETURN_IF_ERROR(call.Finish(stub_->QueryUpload(call.context(), request, &reply), doing));
  }
  size_t offset = static_cast<size_t>(std::clamp<int64_t>(reply.received(), 0, static_cast<int64_t>(program.size())));
  if (offset == program.size()) return hash;
  Call call(interruption_, kUploadSeconds);
  auto writer = stub_->UploadProgram(call.context(), &reply);
  bool open = true;
  while (open && offset < program.size()) {
    const size_t size = std::min(kUploadChunk, program.size() - offset);
    proto::ProgramChunk chunk;
    chunk.set_hash(hash);
    chunk.set_total_size(static_cast<int64_t>(program.size()));
    chunk.set_offset(static_cast<int64_t>(offset));
    chunk.set_data(program.data() + offset, size);
    open = writer->Write(chunk);
    offset += size;
  }
  writer->WritesDone();
  ALPA_RETURN_IF_ERROR(call.Finish(writer->Finish(), doing));
  if (reply.received() != static_cast<int64_t>(program.size())) {
    return Internal("%s: %d of %d bytes arrived", doing, reply.received(), program.size());
  }
  return hash;
}

absl::StatusOr<proto::Job> Coordinator::Submit(const proto::SubmitRequest& request) {
  proto::Job job;
  Call call(interruption_, kSubmitSeconds);
  ALPA_RETURN_IF_ERROR(
      call.Finish(stub_->Submit(call.context(), request, &job), absl::StrCat("submitting to ", address_)));
  return job;
}

absl::StatusOr<proto::Job> Coordinator::GetJob(const std::string& job_id) {
  proto::Job job;
  Call call(interruption_, kCallSeconds);
  ALPA_RETURN_IF_ERROR(call.Finish(stub_->GetJob(call.context(), ForJob(job_id), &job),
                                   absl::StrCat("asking ", address_, " for job ", job_id)));
  return job;
}

absl::StatusOr<proto::ListJobsReply> Coordinator::ListJobs() {
  proto::ListJobsReply reply;
  Call call(interruption_, kCallSeconds);
  ALPA_RETURN_IF_ERROR(
      call.Finish(stub_->ListJobs(call.context(), {}, &reply), absl::StrCat("asking ", address_, " for its jobs")));
  return reply;
}

absl::StatusOr<proto::Job> Coordinator::StopJob(const std::string& job_id) {
  proto::Job job;
  Call call(interruption_, kCallSeconds);
  ALPA_RETURN_IF_ERROR(
      call.Finish(stub_->StopJob(call.context(), ForJob(job_id), &job), absl::StrCat("stopping job ", job_id)));
  return job;
}

absl::StatusOr<proto::Job> Coordinator::FinishJob(const std::string& job_id) {
  proto::Job job;
  Call call(interruption_, kCallSeconds);
  ALPA_RETURN_IF_ERROR(
      call.Finish(stub_->FinishJob(call.context(), ForJob(job_id), &job), absl::StrCat("finishing job ", job_id)));
  return job;
}

absl::Status Coordinator::DeleteJob(const std::string& job_id) {
  proto::DeleteJobReply reply;
  Call call(interruption_, kCallSeconds);
  return call.Finish(stub_->DeleteJob(call.context(), ForJob(job_id), &reply), absl::StrCat("deleting job ", job_id));
}

absl::StatusOr<proto::Placement> Coordinator::GetPlacement(const std::string& job_id) {
  proto::Placement placement;
  Call call(interruption_, kCallSeconds);
  ALPA_RETURN_IF_ERROR(call.Finish(stub_->GetPlacement(call.context(), ForJob(job_id), &placement),
                                   absl::StrCat("asking for the placement of job ", job_id)));
  return placement;
}

absl::StatusOr<proto::ClusterReply> Coordinator::GetCluster() {
  proto::ClusterReply reply;
  Call call(interruption_, kCallSeconds);
  ALPA_RETURN_IF_ERROR(call.Finish(stub_->GetCluster(call.context(), {}, &reply),
                                   absl::StrCat("asking ", address_, " for its workers")));
  return reply;
}

absl::StatusOr<proto::Job> Coordinator::WatchJob(const std::string& job_id,
                                                 const std::function<bool(const proto::Job&)>& seen, double seconds) {
  const std::string doing = absl::StrCat("watching job ", job_id);
  proto::Job job, last;
  bool any = false, enough = false;
  Call call(interruption_, seconds);
  auto reader = stub_->WatchJob(call.context(), ForJob(job_id));
  while (!enough && reader->Read(&job)) {
    last = job;
    any = true;
    enough = !seen(job) || IsFinal(job.state());
  }
  if (enough) {
    call.context()->TryCancel();
    (void)reader->Finish();  // the status is ignored, because the last state has arrived
    return last;
  }
  const absl::Status status = call.Finish(reader->Finish(), doing);
  if (seconds > 0 && absl::IsDeadlineExceeded(status) && any) {
    return WithReason(absl::DeadlineExceededError(absl::StrFormat("job %s is still %s after %g s", job_id,
                                                                  proto::Job::State_Name(last.state()), seconds)),
                      kReasonWaitTimedOut);
  }
  ALPA_RETURN_IF_ERROR(status);
  return absl::UnavailableError(absl::StrCat(doing, ": the coordinator ended the watch before the job ended"));
}

absl::Status Coordinator::GetEvents(const std::string& job_id,
                                    const std::function<void(const proto::JobEvent&)>& seen) {
  Call call(interruption_, kCallSeconds);
  auto reader = stub_->GetEvents(call.context(), ForJob(job_id));
  proto::JobEvent event;
  while (reader->Read(&event)) seen(event);
  return call.Finish(reader->Finish(), absl::StrCat("asking for the events of job ", job_id));
}

absl::Status Coordinator::WatchSteps(const std::string& job_id, int64_t first, int64_t last,
                                     const std::function<void(const proto::StepResult&)>& seen) {
  proto::WatchStepsRequest request;
  request.set_job_id(job_id);
  request.set_from_step(first);
  request.set_until_step(last);
  Call call(interruption_, 0);
  auto reader = stub_->WatchSteps(call.context(), request);
  proto::StepResult result;
  while (reader->Read(&result)) {
    seen(result);
    if (last > 0 && result.step() >= last) {
      call.context()->TryCancel();
      (void)reader->Finish();  // the status is ignored, because all requested results have arrived
      return absl::OkStatus();
    }
  }
  return call.Finish(reader->Finish(), absl::StrCat("watching the steps of job ", job_id));
}

Coordinator::StepStream::StepStream(proto::JobService::Stub& stub, Interruption* interruption, std::string job_id)
    : job_id_(std::move(job_id)), call_(interruption, 0), stream_(stub.RunSteps(call_.context())) {}

Coordinator::StepStream::~StepStream() {
  if (finished_) return;
  call_.context()->TryCancel();
  (void)stream_->Finish();  // the status is ignored: it says that this client cancelled the call
}

bool Coordinator::StepStream::Send(const proto::StepCommand& command) { return stream_->Write(command); }

bool Coordinator::StepStream::Next(proto::StepResult& result) { return stream_->Read(&result); }

absl::Status Coordinator::StepStream::Finish() {
  finished_ = true;
  return call_.Finish(stream_->Finish(), absl::StrCat("running job ", job_id_));
}

std::unique_ptr<Coordinator::StepStream> Coordinator::RunSteps(const std::string& job_id) {
  return std::make_unique<StepStream>(*stub_, interruption_, job_id);
}

}  // namespace alpa::client
