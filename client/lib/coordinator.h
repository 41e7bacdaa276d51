// The coordinator's JobService as C++ calls.
//
// Ownership: the interruption (may be null) must outlive the object.
// Threads:   thread-safe; calls block. Unary calls have deadlines; calls that watch end with what they watch, or by the
//            interruption.
// Errors:    gRPC's statuses with what was attempted before the message, and the coordinator's reason word (outcome.h).
//            kUnavailable and kDeadlineExceeded without a reason: nobody answers at this address.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/lib/interruption.h"
#include "proto/job_service.grpc.pb.h"

namespace alpa::client {

class Coordinator {
 public:
  Coordinator(std::string address, Interruption* interruption);

  const std::string& address() const { return address_; }

  // Sends a program, or the part of it that is not there yet; returns its hash. What broke off goes on where it stood.
  absl::StatusOr<uint64_t> UploadProgram(std::span<const uint8_t> program);
  absl::StatusOr<proto::Job> Submit(const proto::SubmitRequest& request);
  absl::StatusOr<proto::Job> GetJob(const std::string& job_id);
  absl::StatusOr<proto::ListJobsReply> ListJobs();
  absl::StatusOr<proto::Job> StopJob(const std::string& job_id);
  absl::StatusOr<proto::Job> FinishJob(const std::string& job_id);
  absl::Status DeleteJob(const std::string& job_id);
  absl::StatusOr<proto::Placement> GetPlacement(const std::string& job_id);
  absl::StatusOr<proto::ClusterReply> GetCluster();

  // Calls `seen` with each state of the job until it returns false or the job has ended. Returns the last one seen.
  // `seconds` > 0: WAIT_TIMED_OUT (a reason word) after so long.
  absl::StatusOr<proto::Job> WatchJob(const std::string& job_id, const std::function<bool(const proto::Job&)>& seen,
                                      double seconds = 0);
  absl::Status GetEvents(const std::string& job_id, const std::function<void(const proto::JobEvent&)>& seen);
  // Results from `first` on; ends with the job, or with step `last` where that is > 0.
  absl::Status WatchSteps(const std::string& job_id, int64_t first, int64_t last,
                          const std::function<void(const proto::StepResult&)>& seen);

  // One RunSteps call. Send and Next may be called by different threads.
  class StepStream {
   public:
    StepStream(proto::JobService::Stub& stub, Interruption* interruption, std::string job_id);
    ~StepStream();  // leaves the stream; steps that were accepted go on
    bool Send(const proto::StepCommand& command);
    // False: the stream has ended; Finish says why. REQUIRES of Finish: Next has said so.
    bool Next(proto::StepResult& result);
    absl::Status Finish();

   private:
    const std::string job_id_;
    Call call_;
    std::unique_ptr<grpc::ClientReaderWriter<proto::StepCommand, proto::StepResult>> stream_;
    bool finished_ = false;
  };
  std::unique_ptr<StepStream> RunSteps(const std::string& job_id);

 private:
  const std::string address_;
  Interruption* const interruption_;
  std::unique_ptr<proto::JobService::Stub> stub_;
};

}  // namespace alpa::client
