// One RunSteps call: takes commands as far as the core lets it, sends results as they come.
//
// A reactor, not a handler: the call must be able to end, with the job's failure, while its client is silent.
// Threads: one of its own for the core and for writes; gRPC's for reads.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "coordinator/rpc/coordinator.h"
#include "proto/job_service.grpc.pb.h"

namespace alpa::coordinator {

// absl's and gRPC's codes have the same numbers; the reason word goes into trailing metadata.
grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContextBase* context);

// Deletes itself when the call is over.
class StepStream : public grpc::ServerBidiReactor<proto::StepCommand, proto::StepResult> {
 public:
  StepStream(Coordinator& coordinator, grpc::CallbackServerContext* context);

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Loop();
  // Whether a command was taken; `refused_` is set where it was wrong.
  bool TakeCommand();
  bool Send(const proto::StepResult& result);

  Coordinator& coordinator_;
  grpc::CallbackServerContext* const context_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable written_;
  proto::StepCommand command_;     // gRPC's while a read is under way, the loop's while has_command_
  bool has_command_ = false, no_more_commands_ = false, cancelled_ = false;
  bool write_done_ = false, write_ok_ = false;
  // The loop's own:
  std::string job_id_;
  int64_t last_accepted_ = 0, next_result_ = 0;
  absl::Status refused_;
};

}  // namespace alpa::coordinator
