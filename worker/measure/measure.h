// What a worker's machine and devices do, as numbers that plans are priced with (cluster::NodeProfile).
//
// Model:   a backend and transports like the worker's own, made for the purpose and gone afterwards. With several devices where
//          the machine has the cores, so that neighbours can be busy. docs/clusters.md says what each number is.
// Time:    about `seconds`, on a slow machine too: numbers that can be done without are then left out.
// Threads: block their caller; start threads of their own.
// Errors:  of the backend or the transport between devices of one worker. Links to other workers that cannot be measured are
//          assumed, and told in Measured::remarks.
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
  std::string device_name;  // of a device, for people
  int devices = 1;          // to make for measuring
  std::function<std::unique_ptr<kernels::Backend>(int devices)> backend;
  // A new transport, as a worker of this machine would have it; with `far`, as one that reaches other machines only.
  std::function<absl::StatusOr<std::unique_ptr<comm::Transport>>(bool far)> transport;
  double seconds = 2.5;
};

struct Measured {
  cluster::NodeProfile profile;
  std::vector<std::string> remarks;  // for the operator
};

absl::StatusOr<Measured> MeasureNode(const MeasureOptions& options);

// Round numbers of an ordinary server, for a worker that is not to measure: plans can be priced, coarsely. `threads` of a device.
cluster::NodeProfile AssumedProfile(const std::string& device_name, double threads);

}  // namespace alpa::worker
