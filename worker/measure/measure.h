// Measures the performance of a worker's machine and devices. The planner computes costs from these numbers
// (cluster::NodeProfile).
//
// Model:   the measurement uses a backend and transports like the worker's own. The measurement creates this backend
//          and these transports, and destroys them afterwards. If the machine has enough cores, the backend has several
//          devices, so that several can be busy at the same time. docs/clusters.md describes each number.
// Time:    MeasureNode takes about `seconds`, even on a slow machine, which measures fewer of the optional numbers.
// Threads: the functions block their caller and start threads of their own.
// Errors:  those of the backend and of the transport between devices of one worker. If a link to other workers cannot
//          be measured, its numbers are assumed, and Measured::remarks reports it.
// Start at: MeasureNode.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cluster/node.h"
#include "comm/transport.h"
#include "kernels/backend.h"

namespace alpa::worker {

struct MeasureOptions {
  std::string device_name;  // human-readable name of a device
  int devices = 1;          // number of devices to create for measuring
  std::function<std::unique_ptr<kernels::Backend>(int devices)> backend;
  // Creates a transport like that of a worker on this machine. With `far`, the transport only uses protocols that can
  // reach other machines.
  std::function<absl::StatusOr<std::unique_ptr<comm::Transport>>(bool far)> transport;
  double seconds = 2.5;     // time to spend on measuring
};

struct Measured {
  cluster::NodeProfile profile;
  std::vector<std::string> remarks;  // for the operator
};

absl::StatusOr<Measured> MeasureNode(const MeasureOptions& options);

// Returns round numbers of an ordinary server, for a worker that does not measure. Costs computed from them are coarse.
// `threads` is the number of threads per device.
cluster::NodeProfile AssumedProfile(const std::string& device_name, double threads);

}  // namespace alpa::worker
