// Reason words: a stable word that says why a call failed, such as "JOB_NOT_FOUND". A Status carries the word in
// addition to its code and message. Clients act on the word. A gRPC reply carries the word in the trailing metadata
// "alpa-reason".
//
// Threads: pure functions.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace alpa {

// The words that several folders use. Do not change them: clients depend on them.
namespace reason {
inline constexpr absl::string_view kBadRequest = "BAD_REQUEST";           // a field of the request is invalid
inline constexpr absl::string_view kBadProgram = "BAD_PROGRAM";           // damaged, not uploaded, or wrong role table
inline constexpr absl::string_view kUnsupportedOp = "UNSUPPORTED_OP";     // the message names the op and its location
inline constexpr absl::string_view kNoFeasiblePlan = "NO_FEASIBLE_PLAN";  // no plan satisfies the pins
inline constexpr absl::string_view kBadPlan = "BAD_PLAN";  // a given plan is inconsistent or does not fit the program
inline constexpr absl::string_view kInternal = "INTERNAL";                // a bug in this project
}  // namespace reason

// The key of the status payload and of the gRPC metadata.
inline constexpr char kReasonKey[] = "alpa-reason";

// Returns the status with `word` as its reason. If the status is OK or the word is empty, returns the status unchanged.
inline absl::Status WithReason(absl::Status status, absl::string_view word) {
  if (!word.empty()) status.SetPayload(kReasonKey, absl::Cord(word));
  return status;
}
// Returns the reason word of a status, or an empty string if it has none.
inline std::string ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonKey);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace alpa
