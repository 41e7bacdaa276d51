// Status payloads that describe a worker's failure in addition to code and message. There are three payloads: the
// reason word for clients (base/reason.h; job_service.proto lists the words), the op that failed, and a mark of
// secondary failures. A secondary failure only follows from another failure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "base/reason.h"

namespace alpa::worker {

inline constexpr char kOpPayload[] = "alpa-op";
inline constexpr char kSecondaryPayload[] = "alpa-secondary";

inline absl::Status WithPayload(absl::Status status, const char* key, const std::string& value) {
  if (!status.ok()) status.SetPayload(key, absl::Cord(value));
  return status;
}
inline std::string PayloadOf(const absl::Status& status, const char* key) {
  const auto payload = status.GetPayload(key);
  return payload ? std::string(*payload) : std::string();
}

inline absl::Status AsSecondary(absl::Status status) { return WithPayload(std::move(status), kSecondaryPayload, "1"); }
// Returns true if a failure is marked as secondary, or if its code is kAborted (our own abort) or kUnavailable (a lost
// peer).
inline bool IsSecondary(const absl::Status& status) {
  return status.GetPayload(kSecondaryPayload).has_value() || absl::IsUnavailable(status) || absl::IsAborted(status);
}

}  // namespace alpa::worker
