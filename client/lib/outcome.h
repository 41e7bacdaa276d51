// How a client command ends: statuses of calls with the protocol's reason words, and exit codes.
//
// Model:   absl::Status carries the code and message of what failed; the reason word of the coordinator
// ("JOB_NOT_FOUND")
//          or one of ours (below) rides along as a payload. ExitCodeOf maps them to what a shell script sees.
// Threads: pure functions.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/reason.h"
#include "proto/job_service.pb.h"

namespace grpc {
class ClientContext;
}

namespace alpa::client {

enum ExitCode : int {
  kExitDone = 0,
  kExitJobFailed = 1,
  kExitUsage = 2,        // flags, or files given by the user
  kExitUnreachable = 3,  // a daemon does not answer
  kExitRefused = 4,      // the coordinator said no
  kExitNotFound = 5,
  kExitTimedOut = 6,  // the job still runs
  kExitNoPlan = 7,
  kExitInterrupted = 130,
};

// Reason words of this side.
inline constexpr char kReasonUsage[] = "USAGE";
inline constexpr char kReasonInterrupted[] = "INTERRUPTED";
inline constexpr char kReasonWaitTimedOut[] = "WAIT_TIMED_OUT";
inline constexpr char kReasonJobStopped[] = "JOB_STOPPED";
inline constexpr char kReasonNoWorker[] = "WORKER_UNREACHABLE";
inline constexpr char kReasonNoDaemon[] = "NO_DAEMON";  // its program is not there, or does not start

inline constexpr char kDefaultAddress[] = "127.0.0.1:7400";

// The call's status with `doing` before its message and the reason word of `context`'s trailing metadata.
// REQUIRES: the call is finished.
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context, absl::string_view doing);

bool IsFinal(proto::Job::State state);
// OK for SUCCEEDED and for a job that still runs; else what ended it, with its reason word.
absl::Status StatusOfJob(const proto::Job& job);

// For a status of this folder or of a call.
int ExitCodeOf(const absl::Status& status);
// What the user can do about it: the next command, or empty. `address` is the coordinator's.
std::string NextStep(const absl::Status& status, absl::string_view address);
// " --address X" for commands that we suggest, or nothing where X is the default.
std::string AddressFlag(absl::string_view address);

}  // namespace alpa::client
