// One RunSteps call: takes commands as far as the core lets it, sends results as they come.
//
// A reactor, not a handler: the call must be able to end, with the job's failure, while its client is silent.
// Threads: one of its own for the core and for writes; gRPC's for reads.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "coordinator/rpc/coordinator.h"
#include "proto/job_service.grpc.pb.h"

namespace alpa::coordinator {

// Deletes itself when the call is over.
class StepStream : public grpc::ServerBidiReactor<proto::StepCommand, proto::StepResult> {
 public:
  StepStream(Coordinator& coordinator, grpc::CallbackServerContext* context);

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Run();
  // One look at the client's commands and the core's results. Sets `progress` where there may be more at once; a
  // status other than nullptr ends the call.
  std::unique_ptr<grpc::Status> Turn(bool* progress);
  // Whether a command was taken; `refused_` is set where it was wrong.
  bool TakeCommand();
  bool Send(const proto::StepResult& result);

  Coordinator& coordinator_;
  grpc::CallbackServerContext* const context_;
  std::unique_ptr<Watch> watch_;  // null: none could be opened, and the call ends at once
  std::thread thread_;
  Mutex mutex_;
  CondVar written_;
  proto::StepCommand command_;  // gRPC's while a read is under way, the thread's while has_command_
  bool has_command_ ALPA_GUARDED_BY(mutex_) = false;
  bool no_more_commands_ ALPA_GUARDED_BY(mutex_) = false;
  bool cancelled_ ALPA_GUARDED_BY(mutex_) = false;
  bool write_done_ ALPA_GUARDED_BY(mutex_) = false, write_ok_ ALPA_GUARDED_BY(mutex_) = false;
  // The thread's own:
  std::string job_id_;
  int64_t last_accepted_ = 0, next_result_ = 0;
  absl::Status refused_;
};

}  // namespace alpa::coordinator
