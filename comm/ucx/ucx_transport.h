// Messages between processes, by UCX: shared memory on one host, RDMA or TCP between hosts, whatever UCX finds.
//
// Why a ucp_worker for each epoch, and how addresses are found: docs/design/0002-transport-epochs.md.
#pragma once

#include <memory>
#include <string>

#include "comm/transport.h"

namespace alpa::comm {

struct UcxOptions {
  // Address on which other processes ask for an epoch's UCX address; port 0 is any free one.
  std::string listen_host = "127.0.0.1";
  // Host that peers should use to reach it; empty: listen_host.
  std::string advertise_host;
};

// Ranks of this process reach each other in memory, others through UCX.
// kUnavailable: UCX or the listening port cannot be had.
absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxOptions& options = {});

}  // namespace alpa::comm
