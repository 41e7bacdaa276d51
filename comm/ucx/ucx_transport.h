// Messages between processes, by UCX: shared memory on one host, RDMA or TCP between hosts, whatever UCX finds.
//
// Why a ucp_worker for each epoch, and how addresses are found: docs/design/0002-transport-epochs.md. UCX's own environment
// variables (UCX_TLS, UCX_NET_DEVICES, ...) apply; it logs nothing unless UCX_LOG_LEVEL is set.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/clock.h"
#include "comm/transport.h"

namespace alpa::comm {

struct UcxOptions {
  // IPv4 address or name on which other processes ask for an epoch's UCX address, at any free port.
  std::string listen_host = "127.0.0.1";
  // Host that peers should use to reach it; empty: listen_host.
  std::string advertise_host;
  // UCX's names of the ways that messages may go, as in UCX_TLS, which has the last word. Empty: whatever works.
  std::string ways;
  // How long a waiting thread spins, giving way to others, before it sleeps. Zero where cores are scarce.
  Duration spin = std::chrono::microseconds(50);
};

// Ranks of this process reach each other in memory, others through UCX. Endpoints may outlive the transport.
// kUnavailable: UCX or the listening port cannot be had. kInvalidArgument: listen_host is a wildcard and nothing is advertised.
absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxOptions& options = {});

}  // namespace alpa::comm
