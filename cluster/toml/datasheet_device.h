// A device as its data sheet says it, worked out to a profile.
//
// Model:   a product of m x k by k x n takes the longer of its arithmetic, at the share of the peak that products of
// its size (the
//          cube root of m n k) reach, and of its bytes through memory. Kernels take their bytes at a share of the
//          bandwidth.
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "cluster/profile.h"

namespace alpa::cluster {

struct EfficiencyPoint {
  double size = 0;      // of m = n = k
  double fraction = 0;  // of the peak, 0 < fraction <= 1
};

struct DatasheetDevice {
  std::string name;
  double float32 = 0, float16 = 0;  // peak of matrix products, operations per second; float16 0: as float32
  double elements = 0;              // peak of ordinary arithmetic, operations per second
  std::vector<EfficiencyPoint> efficiency, half_efficiency;  // by increasing size, one point at least
  double memory_bandwidth = 0;                               // bytes per second
  double memory_efficiency = 0;                              // of it, that kernels reach
  double kernel_seconds = 0, program_seconds = 0;
};

// REQUIRES: all positive (float16 and the overheads may be 0).
DeviceProfile ProfileOf(const DatasheetDevice& device);

}  // namespace alpa::cluster
