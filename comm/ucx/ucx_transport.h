// Sends messages between processes over UCX. On one host, UCX uses shared memory. Between hosts, it uses RDMA or TCP,
// whichever it finds.
//
// ucx_epoch.h describes connections and progress. address_book.h describes how processes learn each other's UCX
// addresses. UCX's own environment variables (UCX_TLS, UCX_NET_DEVICES, ...) apply. UCX logs nothing unless
// UCX_LOG_LEVEL is set.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.h"
#include "comm/transport.h"

namespace alpa::comm {

struct UcxOptions {
  // IPv4 address or host name on which this process listens, at any free port. Other processes connect to this port to
  // ask for UCX addresses.
  std::string listen_host = "127.0.0.1";
  // Host name or address that peers should use to reach this process. Empty: listen_host.
  std::string advertise_host;
  // The UCX transports that messages may use, written as in UCX_TLS. The environment variable UCX_TLS overrides this
  // field. Empty: all except CMA.
  std::string ways;
  // The time for which a waiting thread spins, yielding to other threads, before it sleeps. Use zero if cores are
  // scarce.
  Duration spin = std::chrono::microseconds(50);
};

// Makes a transport. Ranks of this process exchange messages in memory. Messages to and from other processes use UCX.
// Endpoints may outlive the transport. kUnavailable: UCX cannot start, or listen_host cannot be used. kInvalidArgument:
// listen_host is a wildcard and advertise_host is empty.
absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxOptions& options = {});

}  // namespace alpa::comm
