// JobService and WorkerService over a Coordinator.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/rpc/coordinator.h"

namespace alpa::coordinator {

// A running gRPC server: both services, health, and reflection on loopback addresses.
class RpcServer {
 public:
  virtual ~RpcServer() = default;
  virtual const std::string& address() const = 0;  // host:port that it listens on
  // What the health service answers; at first that it serves.
  virtual void SetServing(bool serving) = 0;
  // No new calls; calls in progress are cancelled after `grace`.
  virtual void Stop(Duration grace) = 0;
};

// kUnavailable where the port is in use. The coordinator must outlive the server.
absl::StatusOr<std::unique_ptr<RpcServer>> StartRpcServer(Coordinator& coordinator, const std::string& listen);

}  // namespace alpa::coordinator
