// Our statuses as gRPC's and the protocol's.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "proto/worker_service.pb.h"

namespace alpa::worker {

// Code and message; the reason word goes into the trailing metadata.
grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContext& context);

// OK becomes code 0.
void ToProto(const absl::Status& status, proto::WorkerError* out);
// An unknown code becomes kUnknown.
absl::Status FromProto(const proto::WorkerError& error);

}  // namespace alpa::worker
