// Errors that clients act on: a status with a stable reason word, which the gRPC rim sends as "alpa-reason".
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace alpa::coordinator {

inline constexpr char kReasonUrl[] = "alpa.reason";

inline absl::Status WithReason(absl::Status status, const std::string& reason) {
  status.SetPayload(kReasonUrl, absl::Cord(reason));
  return status;
}
inline std::string ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonUrl);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace alpa::coordinator
