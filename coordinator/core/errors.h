// Errors that clients act on: the reason words (base/reason.h) of the coordinator's statuses.
#pragma once

#include "absl/strings/string_view.h"
#include "base/reason.h"

namespace alpa::coordinator {

// Stable: clients act on them.
namespace reason {
using ::alpa::reason::kBadPlan;
using ::alpa::reason::kBadProgram;
using ::alpa::reason::kBadRequest;
using ::alpa::reason::kInternal;
using ::alpa::reason::kNoFeasiblePlan;
using ::alpa::reason::kUnsupportedOp;
inline constexpr absl::string_view kJobNotFound = "JOB_NOT_FOUND";
inline constexpr absl::string_view kJobExists = "JOB_EXISTS";           // the id is taken by another request
inline constexpr absl::string_view kJobNotRunning = "JOB_NOT_RUNNING";  // yet
inline constexpr absl::string_view kJobNotFinal = "JOB_NOT_FINAL";      // stop it first
inline constexpr absl::string_view kJobFailed = "JOB_FAILED";           // its cause, worker and op say why
inline constexpr absl::string_view kJobEnded = "JOB_ENDED";             // it was stopped
inline constexpr absl::string_view kStaleState = "STALE_STATE";         // of another step or epoch than the next one
inline constexpr absl::string_view kStepsInFlight = "STEPS_IN_FLIGHT";  // wait for them, or stop the job
inline constexpr absl::string_view kQueueFull = "QUEUE_FULL";
inline constexpr absl::string_view kTooManyStreams = "TOO_MANY_STREAMS";
inline constexpr absl::string_view kDraining = "DRAINING";  // the coordinator is about to end
inline constexpr absl::string_view kStorage = "STORAGE";    // its disk fails
// Never leaves the daemon: the command waits until steps are done.
inline constexpr absl::string_view kBusy = "BUSY";
}  // namespace reason

}  // namespace alpa::coordinator
