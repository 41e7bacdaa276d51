// The status endpoint, for looking only: a page, health, metrics, and what the page reads.
//
//   GET / /app.js /app.css /livez /readyz /version /metrics
//   GET /api/v1/{cluster,workers,jobs,jobs/ID,jobs/ID/plan,jobs/ID/timeline}
//
// Safe by default: GET only, loopback Host names only (plus `allowed_hosts`), a strict content policy, no CORS.
// Threads: has its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/rpc/coordinator.h"

namespace alpa::coordinator {

class StatusServer {
 public:
  virtual ~StatusServer() = default;  // stops
  virtual const std::string& address() const = 0;
};

// `listen` is host:port; port 0 takes a free one. kInvalidArgument for another form, kUnavailable where the port is in
// use. The coordinator must outlive the server.
absl::StatusOr<std::unique_ptr<StatusServer>> StartStatusServer(Coordinator& coordinator, const std::string& version,
                                                                const std::string& listen,
                                                                std::vector<std::string> allowed_hosts);

// Whether a request that names this Host is answered: a page elsewhere could otherwise read what is here, by a name
// that resolves to this machine.
bool HostAllowed(const std::string& host, const std::vector<std::string>& allowed);

}  // namespace alpa::coordinator
