// A measured cost: seconds against an amount (bytes, usually).
//
// Model:  points are joined by straight lines in logarithms of both. Below the first point its time holds; beyond the last one
//         time grows with the amount.
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
  std::vector<CurvePoint> points;  // by increasing amount; empty: costs nothing

  double Seconds(double amount) const;
  bool operator==(const Curve&) const = default;

  // `latency` + amount / `per_second`, exactly, over all amounts that fit in memory.
  static Curve Line(double latency, double per_second);
};

// Between (x0, y0) and (x1, y1), on the straight line through them in logarithms of both.
double BetweenPoints(double x, double x0, double y0, double x1, double y1);

// OK where amounts increase and everything is positive and finite.
absl::Status Check(const Curve& curve);

}  // namespace alpa::cluster
