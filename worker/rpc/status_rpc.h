// Converts absl::Status to gRPC statuses, and to and from WorkerError messages.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "proto/worker_service.pb.h"

namespace alpa::worker {

// Returns code and message as a gRPC status. Puts the reason word into the trailing metadata.
grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContext& context);

// Writes the status and its payloads. OK becomes code 0.
void ToProto(const absl::Status& status, proto::WorkerError* out);
// Reads a status. An unknown code becomes kUnknown.
absl::Status FromProto(const proto::WorkerError& error);

}  // namespace alpa::worker
