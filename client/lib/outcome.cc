#include "client/lib/outcome.h"

#include <grpcpp/client_context.h>

#include "absl/strings/str_cat.h"

namespace alpa::client {
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context, absl::string_view doing) {
  if (status.ok()) return absl::OkStatus();
  const std::string& message = status.error_message();
  absl::Status out(static_cast<absl::StatusCode>(status.error_code()),
                   absl::StrCat(doing, ": ", message.empty() ? "no message" : message));
  const auto& trailing = context.GetServerTrailingMetadata();
  const auto reason = trailing.find(kReasonKey);
  if (reason == trailing.end()) return out;
  return WithReason(std::move(out), {reason->second.data(), reason->second.size()});
}

bool IsFinal(proto::Job::State state) {
  return state == proto::Job::SUCCEEDED || state == proto::Job::FAILED || state == proto::Job::STOPPED;
}

absl::Status StatusOfJob(const proto::Job& job) {
  if (job.state() == proto::Job::STOPPED) {
    return WithReason(absl::CancelledError(absl::StrCat("job ", job.job_id(), " was stopped",
                                                        job.reason().empty() ? "" : ": ", job.reason())),
                      kReasonJobStopped);
  }
  if (job.state() != proto::Job::FAILED) return absl::OkStatus();
  std::string message = absl::StrCat("job ", job.job_id(), " failed");
  if (job.cause() != proto::Job::NONE) absl::StrAppend(&message, " (cause: ", proto::Job::Cause_Name(job.cause()), ")");
  if (!job.failed_worker().empty()) absl::StrAppend(&message, " on worker ", job.failed_worker());
  if (!job.failed_op().empty()) absl::StrAppend(&message, " at ", job.failed_op());
  absl::StrAppend(&message, ": ", job.reason().empty() ? "no reason given" : job.reason());
  return WithReason(absl::AbortedError(message), job.error_reason().empty() ? "JOB_FAILED" : job.error_reason());
}

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitDone;
  const std::string reason = ReasonOf(status);
  if (reason == kReasonUsage) return kExitUsage;
  if (reason == kReasonInterrupted) return kExitInterrupted;
  if (reason == kReasonWaitTimedOut) return kExitTimedOut;
  if (reason == kReasonNoWorker || reason == kReasonNoDaemon) return kExitUnreachable;
  if (reason == "NO_FEASIBLE_PLAN") return kExitNoPlan;
  if (reason == "JOB_NOT_FOUND" || (reason.empty() && absl::IsNotFound(status))) return kExitNotFound;
  if (reason == "UNSUPPORTED_OP" || reason == "BAD_PROGRAM" || reason == "BAD_PLAN") return kExitRefused;
  if (reason == "JOB_FAILED" || reason == kReasonJobStopped || absl::IsAborted(status)) return kExitJobFailed;
  if (reason.empty() && (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status))) return kExitUnreachable;
  return kExitRefused;
}

std::string AddressFlag(absl::string_view address) {
  return address == kDefaultAddress ? "" : absl::StrCat(" --address ", address);
}

std::string NextStep(const absl::Status& status, absl::string_view address) {
  const std::string reason = ReasonOf(status);
  const std::string flag = AddressFlag(address);
  if (reason == kReasonNoDaemon) return "";
  if (reason == kReasonNoWorker) {
    return absl::StrCat("check the worker's state and address (alpa cluster", flag,
                        "); this machine must be able to reach that address\n(alpa-worker --advertise-host sets it)");
  }
  if (reason == "JOB_EXISTS") {
    return "give the same directory, --steps and plan flags to continue that job, or another --job-id for a new job";
  }
  if (reason == "BAD_PLAN")
    return "look at the plan (alpa plan show FILE), or make another plan: alpa plan make --job DIR";
  if (reason == "JOB_NOT_FINAL") return absl::StrCat("stop the job first: alpa stop JOB", flag);
  switch (ExitCodeOf(status)) {
    case kExitUnreachable:
      return absl::StrCat("start a coordinator (alpa-coordinator --listen ", address,
                          ") and workers (alpa-worker --coordinator ", address,
                          "\n--name w0 --devices 2), name another coordinator with --address or ALPA_ADDRESS,\n"
                          "or use this machine alone: alpa run --standalone DIR --steps N");
    case kExitNotFound: return absl::StrCat("list the jobs: alpa list", flag);
    case kExitNoPlan:
      return absl::StrCat("check which devices are free (alpa cluster", flag,
                          "), then pin fewer --devices or another number of --microbatches");
    default: return "";
  }
}

}  // namespace alpa::client
