// The gRPC server: JobService and WorkerService on top of a Coordinator.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/rpc/coordinator.h"

namespace alpa::coordinator {

// A running gRPC server with both services, the health service and, on loopback addresses, reflection.
class RpcServer {
 public:
  virtual ~RpcServer() = default;
  virtual const std::string& address() const = 0;  // host:port that it listens on
  // Sets the health service's answer, which is "serving" at first.
  virtual void SetServing(bool serving) = 0;
  // Refuses new calls, cancels calls that still run after `grace`, and returns when all calls have ended.
  virtual void Stop(Duration grace) = 0;
};

// Starts the server on `listen` (host:port). Returns kUnavailable if the port is in use or the address is not local.
// The coordinator must outlive the server.
absl::StatusOr<std::unique_ptr<RpcServer>> StartRpcServer(Coordinator& coordinator, const std::string& listen);

}  // namespace alpa::coordinator
