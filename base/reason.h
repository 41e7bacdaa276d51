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
