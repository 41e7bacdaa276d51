// What the worker tells about a failure besides code and message, as payloads of a Status: the stable reason word for
// clients (base/reason.h, words as job_service.proto lists them), the op that failed, and whether it is only the consequence of
// another failure.
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
// A failure that came from elsewhere: an abort of ours, or a peer that is gone.
inline bool IsSecondary(const absl::Status& status) {
  return status.GetPayload(kSecondaryPayload).has_value() || absl::IsUnavailable(status) || absl::IsAborted(status);
}

}  // namespace alpa::worker
