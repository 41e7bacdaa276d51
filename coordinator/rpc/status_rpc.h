// Converts absl::Status to grpc::Status.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "coordinator/core/errors.h"
#include "coordinator/core/text.h"

namespace alpa::coordinator {

// Keeps the status code and puts the reason word into the trailing metadata. Cuts a long message, because it travels in
// HTTP/2 headers, which clients limit to 8 KiB. In a header, a byte that is not printable ASCII takes three bytes.
inline grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContextBase* context) {
  if (status.ok()) return grpc::Status::OK;
  constexpr size_t kMaxEncodedBytes = 6000;  // maximum size of the encoded message
  const absl::string_view message = status.message();
  size_t encoded = 0, fits = 0;
  while (fits < message.size() && encoded < kMaxEncodedBytes) {
    const char c = message[fits++];
    encoded += c < 0x20 || c > 0x7e || c == '%' ? 3 : 1;
  }
  if (const std::string reason = ReasonOf(status); !reason.empty()) context->AddTrailingMetadata(kReasonKey, reason);
  return {static_cast<grpc::StatusCode>(status.code()), CleanText(message, fits)};
}

}  // namespace alpa::coordinator
