// The reason words (base/reason.h) of the coordinator's errors. Clients act on them.
#pragma once

#include "absl/strings/string_view.h"
#include "base/reason.h"

namespace alpa::coordinator {

// Words are stable: they do not change between versions.
namespace reason {
using ::alpa::reason::kBadPlan;
using ::alpa::reason::kBadProgram;
using ::alpa::reason::kBadRequest;
using ::alpa::reason::kInternal;
using ::alpa::reason::kNoFeasiblePlan;
using ::alpa::reason::kUnsupportedOp;
inline constexpr absl::string_view kJobNotFound = "JOB_NOT_FOUND";
inline constexpr absl::string_view kJobExists = "JOB_EXISTS";           // the id is taken by another request
inline constexpr absl::string_view kJobNotRunning = "JOB_NOT_RUNNING";  // the call needs a RUNNING job
inline constexpr absl::string_view kJobNotFinal = "JOB_NOT_FINAL";      // the job must be stopped first
inline constexpr absl::string_view kJobFailed = "JOB_FAILED";           // the job's cause, worker and op have details
inline constexpr absl::string_view kJobEnded = "JOB_ENDED";             // the job was stopped
inline constexpr absl::string_view kStaleState = "STALE_STATE";         // wrong epoch, or not the job's next step
inline constexpr absl::string_view kStepsInFlight = "STEPS_IN_FLIGHT";  // wait for the steps, or stop the job
inline constexpr absl::string_view kQueueFull = "QUEUE_FULL";
inline constexpr absl::string_view kTooManyStreams = "TOO_MANY_STREAMS";
inline constexpr absl::string_view kDraining = "DRAINING";  // the coordinator is shutting down
inline constexpr absl::string_view kStorage = "STORAGE";    // the coordinator's disk fails
// Clients never see this word: the I/O layer holds the command back until the core accepts it.
inline constexpr absl::string_view kBusy = "BUSY";
}  // namespace reason

}  // namespace alpa::coordinator
