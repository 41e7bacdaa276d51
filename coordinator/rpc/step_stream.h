// One RunSteps call: passes commands to the core as fast as the core accepts them, and sends results as they arrive.
//
// Model:   The call is a reactor. A blocking handler could not end the call with the job's failure while the client
//          sends nothing.
// Threads: a separate thread calls the core and writes; gRPC's threads read.
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
  // Passes on at most one command and sends the available results. Sets `*progress` to true if it passed on a command
  // or sent a result. The caller must then call Turn again without waiting. Returns the status that ends the call, or
  // nullptr if the call goes on.
  std::unique_ptr<grpc::Status> Turn(bool* progress);
  // Returns true if the core accepted or refused a command; sets `refused_` if it refused. Returns false if there is no
  // command, or if the core is busy.
  bool TakeCommand();
  // Sends one result and waits until gRPC has written it. Returns false if the stream is broken.
  bool Send(const proto::StepResult& result);

  Coordinator& coordinator_;
  grpc::CallbackServerContext* const context_;
  std::unique_ptr<Watch> watch_;  // null if opening a watch failed; the call then ends at once
  std::thread thread_;
  Mutex mutex_;
  CondVar written_;
  proto::StepCommand command_;  // gRPC writes it during a read; thread_ reads it while has_command_
  bool has_command_ ALPA_GUARDED_BY(mutex_) = false;
  bool no_more_commands_ ALPA_GUARDED_BY(mutex_) = false;
  bool cancelled_ ALPA_GUARDED_BY(mutex_) = false;
  bool write_done_ ALPA_GUARDED_BY(mutex_) = false, write_ok_ ALPA_GUARDED_BY(mutex_) = false;
  // Only thread_ uses these:
  std::string job_id_;
  int64_t last_accepted_ = 0, next_result_ = 0;
  absl::Status refused_;
};

}  // namespace alpa::coordinator
