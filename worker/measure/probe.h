// A small program on one device, and how long its runs take.
//
// Model:   runs are enqueued behind a gate and then go one after the other, as a worker's do, so that nothing but the device
//          itself is timed. Of several rounds the fastest counts: what disturbs a measurement makes it longer.
// Errors:  what Compile, Allocate and the stream report.
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
  // Floats are 0.5; integers count up to `index_limit` in large strides, again and again.
  static absl::StatusOr<std::unique_ptr<Probe>> Make(kernels::Backend& backend, int device, const graph::Graph& graph,
                                                     int index_limit = 1);

  // Seconds of one run, from rounds that together take about `patience` seconds; three rounds at least, after one
  // for warming up.
  absl::StatusOr<double> Fastest(double patience);

  // The same for probes of different devices that run at the same time: of the slowest of them.
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
