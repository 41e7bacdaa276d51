// The read-only status endpoint: a page, health checks, metrics, and the JSON that the page reads.
//
//   GET / /app.js /app.css /livez /readyz /version /metrics
//   GET /api/v1/{cluster,workers,jobs,jobs/ID,jobs/ID/plan,jobs/ID/timeline}
//
// Safe by default: the server answers only GET and HEAD, and only requests whose Host is a loopback name or one of
// `allowed_hosts`. It sends a strict Content-Security-Policy and no CORS headers.
//
// Threads: the server has several threads, which take the coordinator's lock.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/rpc/coordinator.h"

namespace alpa::coordinator {

class StatusServer {
 public:
  virtual ~StatusServer() = default;  // stops the server
  virtual const std::string& address() const = 0;
};

// Starts the server on `listen` (host:port). Port 0 means any free port. Returns kInvalidArgument if `listen` has
// another form, and kUnavailable if the port is in use or the address is not local. The coordinator must outlive the
// server.
absl::StatusOr<std::unique_ptr<StatusServer>> StartStatusServer(Coordinator& coordinator, const std::string& version,
                                                                const std::string& listen,
                                                                std::vector<std::string> allowed_hosts);

// Returns whether to answer a request with this Host header. Without this check, a foreign web page could read the
// status through a host name that the owner of the page resolves to this machine.
bool HostAllowed(const std::string& host, const std::vector<std::string>& allowed);

}  // namespace alpa::coordinator
