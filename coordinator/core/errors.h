// Errors that clients act on: a status with a stable reason word, which the gRPC rim sends as "alpa-reason".
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace alpa::coordinator {

// The words, as docs/wire.md explains them.
namespace reason {
inline constexpr absl::string_view kBadRequest = "BAD_REQUEST";
inline constexpr absl::string_view kBadProgram = "BAD_PROGRAM";
inline constexpr absl::string_view kUnsupportedOp = "UNSUPPORTED_OP";
inline constexpr absl::string_view kNoFeasiblePlan = "NO_FEASIBLE_PLAN";
inline constexpr absl::string_view kJobNotFound = "JOB_NOT_FOUND";
inline constexpr absl::string_view kJobExists = "JOB_EXISTS";
inline constexpr absl::string_view kJobNotRunning = "JOB_NOT_RUNNING";
inline constexpr absl::string_view kJobNotFinal = "JOB_NOT_FINAL";
inline constexpr absl::string_view kJobFailed = "JOB_FAILED";
inline constexpr absl::string_view kJobEnded = "JOB_ENDED";
inline constexpr absl::string_view kStaleState = "STALE_STATE";
inline constexpr absl::string_view kStepsInFlight = "STEPS_IN_FLIGHT";
inline constexpr absl::string_view kQueueFull = "QUEUE_FULL";
inline constexpr absl::string_view kTooManyStreams = "TOO_MANY_STREAMS";
inline constexpr absl::string_view kDraining = "DRAINING";
inline constexpr absl::string_view kStorage = "STORAGE";
inline constexpr absl::string_view kInternal = "INTERNAL";
// Never leaves the daemon: the command waits until steps are done.
inline constexpr absl::string_view kBusy = "BUSY";
}  // namespace reason

inline constexpr char kReasonUrl[] = "alpa.reason";

// The status with the word; OK stays OK.
inline absl::Status WithReason(absl::Status status, absl::string_view word) {
  status.SetPayload(kReasonUrl, absl::Cord(word));
  return status;
}
// Empty where there is none.
inline std::string ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonUrl);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace alpa::coordinator
