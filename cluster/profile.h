// What a kind of device and a kind of link were measured (or are said) to do. The planner's prices and its simulator use
// nothing else.
//
// Threads: value types.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cluster/curve.h"

namespace alpa::cluster {

// One product [m, k] x [k, n] of matrices, alone on the device.
struct ProductPoint {
  int64_t m = 0, n = 0, k = 0;
  double seconds = 0;
  bool operator==(const ProductPoint&) const = default;
};

// How fast a device computes when its neighbours are idle. Products and memory are the work alone: `kernel_seconds` is added for each
// kernel, `program_seconds` for each program.
struct DeviceProfile {
  std::string name;                         // "cpu, 1 thread", "A100-SXM4-40GB"
  // Products of 32-bit and of 16-bit floats; at least one point of 32-bit ones. 16-bit ones empty: as 32-bit ones.
  std::vector<ProductPoint> products, half_products;
  Curve memory;                             // bytes read and written by one fused kernel
  double element_seconds = 0;               // of a cheap arithmetic op on one element inside a fused kernel
  double division_seconds = 0;              // of a division or a square root
  double transcendental_seconds = 0;        // of an exponential, a logarithm, a tangent, ..
  double reduced_seconds = 0;               // of one element that a fused kernel sums up, or the like
  double run_seconds = 0;                   // of each run of neighbours that is read through strides (broadcasts, slices, transposes)
  double slow_element_seconds = 0;          // of one element of what no fused kernel takes (sorts, scatters, windows)
  double kernel_seconds = 0;                // overhead of one kernel
  double program_seconds = 0;               // overhead of one instruction of a list
  bool operator==(const DeviceProfile&) const = default;
};

// Messages and collectives between devices that are linked alike.
struct LinkProfile {
  std::string name;                         // "shared memory", "NVLink", "100 Gb/s Ethernet"
  Curve message;                            // bytes of one message, nothing else under way
  // By collective: seconds against bytes a device *sends* (2 B (n-1)/n for an all-reduce of B bytes), for groups of 2. Empty: from
  // messages.
  Curve all_reduce, all_gather, reduce_scatter, all_to_all;
  // What each further device of a group adds, as a latency.
  double seconds_per_member = 0;
  bool operator==(const LinkProfile&) const = default;
};

absl::Status Check(const DeviceProfile& profile);
absl::Status Check(const LinkProfile& profile);

}  // namespace alpa::cluster
