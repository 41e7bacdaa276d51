// Profiles: the performance numbers of a kind of device and of a kind of link. They are measured, assumed, or derived
// from a data sheet. On a measured cluster, the planner's costs and its simulation use only these numbers.
//
// Threads: value types.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cluster/curve.h"

namespace alpa::cluster {

// The time of one matrix product [m, k] x [k, n] that runs alone on the device.
struct ProductPoint {
  int64_t m = 0, n = 0, k = 0;
  double seconds = 0;
  bool operator==(const ProductPoint&) const = default;
};

// The speed of a device while the other devices of its host are idle. The times of products and of memory traffic
// exclude overheads: the planner adds `kernel_seconds` per kernel and `program_seconds` per program run.
struct DeviceProfile {
  std::string name;                         // "cpu, 1 thread", "A100-SXM4-40GB"
  // Products of 32-bit and of 16-bit floats. `products` has at least one point. If `half_products` is empty, products
  // of 16-bit floats are as fast as those of 32-bit floats.
  std::vector<ProductPoint> products, half_products;
  Curve memory;                             // seconds as a function of the bytes that one fused kernel reads and writes
  double element_seconds = 0;               // seconds of one cheap arithmetic op on one element in a fused kernel
  double division_seconds = 0;              // seconds of one division, remainder or square root
  double transcendental_seconds = 0;        // seconds of one exponential, logarithm, sine, power, ...
  double reduced_seconds = 0;               // seconds per element that a fused kernel reduces
  // Seconds per contiguous run of elements in a strided read (of a broadcast, slice or transpose). Also seconds per row
  // of a reduction.
  double run_seconds = 0;
  double slow_element_seconds = 0;          // seconds per element of an op outside fused kernels (sort, scatter, ...)
  double kernel_seconds = 0;                // overhead of one kernel, in seconds
  double program_seconds = 0;               // overhead of one program run, in seconds
  bool operator==(const DeviceProfile&) const = default;
};

// The times of messages and collectives between devices that one kind of link connects.
struct LinkProfile {
  std::string name;                         // "shared memory", "NVLink", "100 Gb/s Ethernet"
  Curve message;                            // seconds as a function of the bytes of one message, without other traffic
  // One curve per collective: seconds as a function of the bytes that each device *sends*, in a group of 2 devices. In
  // an all-reduce of `B` bytes over `n` devices, each device sends `2 * B * (n - 1) / n` bytes. If a curve is empty,
  // the planner computes the collective's time from `message`.
  Curve all_reduce, all_gather, reduce_scatter, all_to_all;
  // Each device beyond the second in a group adds this latency to a measured collective.
  double seconds_per_member = 0;
  bool operator==(const LinkProfile&) const = default;
};

// Each returns OK if all numbers are valid, and kInvalidArgument otherwise.
absl::Status Check(const DeviceProfile& profile);
absl::Status Check(const LinkProfile& profile);

}  // namespace alpa::cluster
