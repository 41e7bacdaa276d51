// Our statuses as gRPC's.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "coordinator/core/errors.h"
#include "coordinator/core/text.h"

namespace alpa::coordinator {

// Both have the same codes; the reason word goes into the trailing metadata. A message travels in HTTP/2 headers, of
// which clients take 8 KiB: everything but printable ASCII is three bytes there.
inline grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContextBase* context) {
  if (status.ok()) return grpc::Status::OK;
  constexpr size_t kMaxEncodedBytes = 6000;
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
