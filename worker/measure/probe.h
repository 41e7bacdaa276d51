// Times the runs of a small program on one device.
//
// Model:   all runs of a round are enqueued behind a gate. When the gate opens, they run one after another, as in a
//          worker's step. The time of a round therefore contains only the device's work. The fastest of several rounds
//          counts, because disturbances only make a round longer.
// Errors:  those of Compile, Allocate and the stream.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/backend.h"

namespace alpa::worker {

class Probe {
 public:
  // Compiles the program and fills its inputs. Floats are 0.5. Integers are scattered indices below `index_limit`.
  static absl::StatusOr<std::unique_ptr<Probe>> Make(kernels::Backend& backend, int device, const graph::Graph& graph,
                                                     int index_limit = 1);

  // Returns the seconds of one run in the fastest round. The rounds together take about `patience` seconds. There are
  // at least three rounds, after a warm-up round.
  absl::StatusOr<double> Fastest(double patience);

  // Does the same with probes of different devices that run at the same time. The slowest device determines the time of
  // a round.
  static absl::StatusOr<double> FastestTogether(std::span<const std::unique_ptr<Probe>> probes, double patience);

 private:
  Probe(kernels::Backend& backend, int device) : backend_(backend), device_(device) {}
  static absl::StatusOr<double> Round(std::span<Probe* const> probes, int runs);
  static absl::StatusOr<double> Fastest(std::span<Probe* const> probes, double patience);

  kernels::Backend& backend_;
  const int device_;
  std::vector<std::unique_ptr<kernels::Buffer>> inputs_, outputs_;
  std::unique_ptr<kernels::CompiledProgram> program_;
};

}  // namespace alpa::worker
