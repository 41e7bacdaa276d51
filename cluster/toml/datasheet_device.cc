#include "cluster/toml/datasheet_device.h"

#include <algorithm>
#include <cmath>

namespace alpa::cluster {
namespace {

// The extents of m, n and k for which a profile lists products.
constexpr int64_t kSizes[] = {1, 16, 128, 512, 2048, 8192};
// Assumed cost of one transcendental op or one division, in cheap arithmetic operations.
constexpr double kTranscendentalOperations = 16;
// Assumed memory traffic of one element of a sort or a scatter, in bytes.
constexpr double kSlowElementBytes = 64;

double FractionAt(const std::vector<EfficiencyPoint>& points, double size) {
  if (size <= points.front().size) return points.front().fraction;
  for (size_t i = 1; i < points.size(); ++i) {
    const EfficiencyPoint& lo = points[i - 1];
    const EfficiencyPoint& hi = points[i];
    if (size <= hi.size) return BetweenPoints(size, lo.size, lo.fraction, hi.size, hi.fraction);
  }
  return points.back().fraction;
}

std::vector<ProductPoint> Products(double peak, const std::vector<EfficiencyPoint>& efficiency, double element_bytes,
                                   double bandwidth) {
  std::vector<ProductPoint> points;
  for (int64_t m : kSizes) {
    for (int64_t n : kSizes) {
      for (int64_t k : kSizes) {
        const double a = static_cast<double>(m), b = static_cast<double>(n), c = static_cast<double>(k);
        const double arithmetic = 2 * a * b * c / (peak * FractionAt(efficiency, std::cbrt(a * b * c)));
        const double memory = element_bytes * (a * c + c * b + a * b) / bandwidth;
        points.push_back({m, n, k, std::max(arithmetic, memory)});
      }
    }
  }
  return points;
}

}  // namespace

DeviceProfile ProfileOf(const DatasheetDevice& device) {
  DeviceProfile profile;
  profile.name = device.name;
  const double bandwidth = device.memory_bandwidth * device.memory_efficiency;
  profile.products = Products(device.float32, device.efficiency, 4, bandwidth);
  if (device.float16 > 0) profile.half_products = Products(device.float16, device.half_efficiency, 2, bandwidth);
  profile.memory = Curve::Line(0, bandwidth);
  profile.element_seconds = 1 / device.elements;
  profile.division_seconds = kTranscendentalOperations / device.elements;
  profile.reduced_seconds = 1 / device.elements;
  profile.transcendental_seconds = kTranscendentalOperations / device.elements;
  profile.slow_element_seconds = kSlowElementBytes / bandwidth;
  profile.kernel_seconds = device.kernel_seconds;
  profile.program_seconds = device.program_seconds;
  return profile;
}

}  // namespace alpa::cluster
