// A measured cost: seconds as a function of an amount. The amount is usually a number of bytes.
//
// Model:   The curve passes through its points. Between two points, the logarithm of the time is linear in the
//          logarithm of the amount. Below the first point the time is constant. Beyond the last point the time is
//          proportional to the amount.
// Threads: value types.
#pragma once

#include <vector>

#include "absl/status/status.h"

namespace alpa::cluster {

struct CurvePoint {
  double amount = 0;   // > 0
  double seconds = 0;  // > 0
  bool operator==(const CurvePoint&) const = default;
};

struct Curve {
  std::vector<CurvePoint> points;  // in order of increasing amount; empty: every amount takes 0 seconds

  double Seconds(double amount) const;
  bool operator==(const Curve&) const = default;

  // Returns the curve of the cost `latency` + amount / `per_second`, in seconds. It is exact at powers of two from 1 to
  // 2^40, and at most 2 % too high between these powers.
  static Curve Line(double latency, double per_second);
};

// Interpolates y at `x` between (x0, y0) and (x1, y1), linearly in the logarithms of x and y.
double BetweenPoints(double x, double x0, double y0, double x1, double y1);

// Returns OK if the amounts increase and all numbers are positive and finite. Otherwise returns kInvalidArgument.
absl::Status Check(const Curve& curve);

}  // namespace alpa::cluster
