// Describes the outcome of a client command, by a status with a reason word, and by an exit code.
//
// Model:   An absl::Status has the code and the message of an error. Its payload has the reason word, either the
//          coordinator's ("JOB_NOT_FOUND") or one of the client's (below). ExitCodeOf maps a status to an exit code.
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
  kExitUsage = 2,        // the flags or the user's files are wrong
  kExitUnreachable = 3,  // a daemon does not answer
  kExitRefused = 4,      // the coordinator refused the request, or the error has no other exit code
  kExitNotFound = 5,
  kExitTimedOut = 6,  // the time limit has passed, but the job continues
  kExitNoPlan = 7,
  kExitInterrupted = 130,
};

// Reason words of errors that the client detects.
inline constexpr char kReasonUsage[] = "USAGE";
inline constexpr char kReasonInterrupted[] = "INTERRUPTED";
inline constexpr char kReasonWaitTimedOut[] = "WAIT_TIMED_OUT";
inline constexpr char kReasonJobStopped[] = "JOB_STOPPED";
inline constexpr char kReasonNoWorker[] = "WORKER_UNREACHABLE";
inline constexpr char kReasonNoDaemon[] = "NO_DAEMON";  // the executable file of a daemon is missing

inline constexpr char kDefaultAddress[] = "127.0.0.1:7400";

// Converts the status of a gRPC call. The message begins with `doing`, the attempted action. The reason word comes from
// the trailing metadata of `context`. REQUIRES: the call is finished.
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context, absl::string_view doing);

bool IsFinal(proto::Job::State state);  // true for SUCCEEDED, FAILED and STOPPED
// Returns OK for a job that SUCCEEDED or has not ended. For any other job, returns an error that says why the job
// ended, with the reason word of the job.
absl::Status StatusOfJob(const proto::Job& job);

// Returns the exit code of a status. The status comes from a function of this folder or from a gRPC call.
int ExitCodeOf(const absl::Status& status);
// Returns a suggestion for the user, usually the next command. If there is no suggestion, returns an empty string.
// `address` is the coordinator's address.
std::string NextStep(const absl::Status& status, absl::string_view address);
// Returns " --address X" for a suggested command, or an empty string if X is the default address.
std::string AddressFlag(absl::string_view address);

}  // namespace alpa::client
