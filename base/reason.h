// A stable word for why something failed ("JOB_NOT_FOUND"), carried by a Status beside code and message. Clients act on it;
// between processes it travels as gRPC's trailing metadata "alpa-reason".
//
// Threads: pure functions.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace alpa {

// Words that several folders give. Stable: clients act on them.
namespace reason {
inline constexpr absl::string_view kBadRequest = "BAD_REQUEST";           // a field makes no sense
inline constexpr absl::string_view kBadProgram = "BAD_PROGRAM";           // damaged, not uploaded, or roles do not fit
inline constexpr absl::string_view kUnsupportedOp = "UNSUPPORTED_OP";     // named in the message, with its place
inline constexpr absl::string_view kNoFeasiblePlan = "NO_FEASIBLE_PLAN";  // nothing fits what was pinned
inline constexpr absl::string_view kBadPlan = "BAD_PLAN";                 // a plan that was given fits neither itself nor the program
inline constexpr absl::string_view kInternal = "INTERNAL";                // a fault of ours
}  // namespace reason

// The key of the payload, and of the metadata.
inline constexpr char kReasonKey[] = "alpa-reason";

// The status with the word. OK stays OK, and no word changes nothing.
inline absl::Status WithReason(absl::Status status, absl::string_view word) {
  if (!word.empty()) status.SetPayload(kReasonKey, absl::Cord(word));
  return status;
}
// Empty where there is none.
inline std::string ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonKey);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace alpa
