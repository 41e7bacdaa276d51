// Calls the coordinator's JobService.
//
// Ownership: the interruption must outlive the object. It may be null.
// Threads:   thread-safe. Calls block. WatchSteps, RunSteps, and WatchJob without a time limit have no deadline: they
//            return when the job ends or the interruption triggers. All other calls have a deadline.
// Errors:    the status from gRPC, with the coordinator's reason word (outcome.h). The message begins with the
//            attempted action. kUnavailable or kDeadlineExceeded without a reason word: no coordinator answers at this
//            address.
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

  // Sends the part of a program that the coordinator does not have yet. Returns the program's hash (xxh64).
  absl::StatusOr<uint64_t> UploadProgram(std::span<const uint8_t> program);
  absl::StatusOr<proto::Job> Submit(const proto::SubmitRequest& request);
  absl::StatusOr<proto::Job> GetJob(const std::string& job_id);
  absl::StatusOr<proto::ListJobsReply> ListJobs();
  absl::StatusOr<proto::Job> StopJob(const std::string& job_id);
  absl::StatusOr<proto::Job> FinishJob(const std::string& job_id);
  absl::Status DeleteJob(const std::string& job_id);
  absl::StatusOr<proto::Placement> GetPlacement(const std::string& job_id);
  absl::StatusOr<proto::ClusterReply> GetCluster();

  // Calls `seen` with each state of the job until `seen` returns false or the job has ended. Returns the last state.
  // If `seconds` > 0, fails with kDeadlineExceeded after this time. If the coordinator has sent at least one state, the
  // error has the reason word WAIT_TIMED_OUT.
  absl::StatusOr<proto::Job> WatchJob(const std::string& job_id, const std::function<bool(const proto::Job&)>& seen,
                                      double seconds = 0);
  // Calls `seen` with each event that the job has had so far.
  absl::Status GetEvents(const std::string& job_id, const std::function<void(const proto::JobEvent&)>& seen);
  // Calls `seen` with the result of each step from `first` on. Returns when the job ends. If `last` > 0, returns after
  // the result of step `last`.
  absl::Status WatchSteps(const std::string& job_id, int64_t first, int64_t last,
                          const std::function<void(const proto::StepResult&)>& seen);

  // One RunSteps call. One thread may call Send while another thread calls Next.
  class StepStream {
   public:
    StepStream(proto::JobService::Stub& stub, Interruption* interruption, std::string job_id);
    ~StepStream();  // cancels the stream; accepted steps continue
    // Sends a command. Returns false if the stream has ended.
    bool Send(const proto::StepCommand& command);
    // Waits for the next result. Returns false if the stream has ended.
    bool Next(proto::StepResult& result);
    // Returns why the stream has ended. REQUIRES: Next has returned false.
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
