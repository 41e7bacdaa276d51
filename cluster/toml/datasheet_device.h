// Derives a device profile from the peak numbers of a data sheet.
//
// Model:   The size of a product m x k by k x n is the cube root of m n k. The product takes the longer of two times:
//          that of its arithmetic and that of its memory traffic. Arithmetic runs at the fraction of the peak that
//          products of this size reach. Memory traffic runs at `memory_efficiency` times the bandwidth.
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "cluster/profile.h"

namespace alpa::cluster {

struct EfficiencyPoint {
  double size = 0;      // extent of m, n and k, which are equal
  double fraction = 0;  // of the peak, 0 < fraction <= 1
};

struct DatasheetDevice {
  std::string name;
  double float32 = 0, float16 = 0;  // peaks of matrix products, operations per second; float16 = 0: as float32
  double elements = 0;              // peak of ordinary arithmetic, operations per second
  std::vector<EfficiencyPoint> efficiency, half_efficiency;  // by increasing size, at least one point
  double memory_bandwidth = 0;                               // bytes per second
  double memory_efficiency = 0;                              // fraction of the bandwidth that kernels reach
  double kernel_seconds = 0, program_seconds = 0;
};

// REQUIRES: all numbers are positive. float16 and the two overheads may also be 0.
DeviceProfile ProfileOf(const DatasheetDevice& device);

}  // namespace alpa::cluster
