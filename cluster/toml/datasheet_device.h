// Derives a device profile from the peak numbers of a data sheet.
//
// Model:   The size of a product [m, k] x [k, n] is the cube root of `m * n * k`. The product takes the longer of two
//          times: the time of its arithmetic and the time of its memory traffic. Arithmetic runs at the fraction of the
//          peak that products of this size reach. Memory traffic runs at `memory_efficiency` times the bandwidth.
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "cluster/profile.h"

namespace alpa::cluster {

struct EfficiencyPoint {
  double size = 0;      // extent of m, n and k, which are equal
  double fraction = 0;  // fraction of the peak, 0 < fraction <= 1
};

struct DatasheetDevice {
  std::string name;
  double float32 = 0, float16 = 0;  // peaks of matrix products; if float16 is 0, float32 holds for both
  double elements = 0;              // peak of ordinary arithmetic; all peaks are in operations per second
  std::vector<EfficiencyPoint> efficiency, half_efficiency;  // in order of increasing size; at least one point
  double memory_bandwidth = 0;                               // bytes per second
  double memory_efficiency = 0;                              // fraction of the bandwidth that kernels reach
  double kernel_seconds = 0, program_seconds = 0;
};

// REQUIRES: all numbers are positive, except that float16 and the two overheads may be 0.
DeviceProfile ProfileOf(const DatasheetDevice& device);

}  // namespace alpa::cluster
