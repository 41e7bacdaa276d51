#include "worker/rpc/status_rpc.h"

#include "worker/core/errors.h"

namespace alpa::worker {
namespace {

// Makes a message fit for an HTTP/2 header: replaces control characters, and keeps only the first 4000 bytes.
std::string Clean(absl::string_view message) {
  constexpr size_t kMost = 4000;
  std::string clean(message.substr(0, kMost));
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return clean;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContext& context) {
  if (status.ok()) return grpc::Status::OK;
  const std::string reason = ReasonOf(status);
  if (!reason.empty()) context.AddTrailingMetadata(kReasonKey, reason);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), Clean(status.message()));
}

void ToProto(const absl::Status& status, proto::WorkerError* out) {
  out->Clear();
  if (status.ok()) return;
  out->set_code(static_cast<int32_t>(status.code()));
  out->set_message(Clean(status.message()));
  out->set_op(PayloadOf(status, kOpPayload));
  out->set_secondary(IsSecondary(status));
}

absl::Status FromProto(const proto::WorkerError& error) {
  if (error.code() == 0) return absl::OkStatus();
  const bool known = error.code() >= 1 && error.code() <= 16;
  const absl::StatusCode code = known ? static_cast<absl::StatusCode>(error.code()) : absl::StatusCode::kUnknown;
  absl::Status status(code, error.message());
  return error.op().empty() ? status : WithPayload(status, kOpPayload, error.op());
}

}  // namespace alpa::worker
