// The time limit of a measurement, and helpers for measured times.
//
// Model:   optional measurements are left out when the time is up. A slow machine therefore measures fewer numbers, but
//          does not take longer to start.
// Threads: value types and pure functions.
#pragma once

#include <algorithm>

#include "base/clock.h"
#include "cluster/curve.h"

namespace alpa::worker {

class TimeLimit {
 public:
  explicit TimeLimit(double seconds)
      : end_(Clock::Real().Now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds))) {}
  MonotonicTime end() const { return end_; }
  // Returns the seconds that are left; negative after the end.
  double left() const { return std::chrono::duration<double>(end_ - Clock::Real().Now()).count(); }
  // Returns whether work that takes `seconds` may still begin.
  bool Allows(double seconds) const { return left() >= seconds; }

 private:
  MonotonicTime end_;
};

// Makes a curve monotone: a larger amount is never faster. Disturbances make a measurement longer, so if two points
// contradict each other, the time of the larger amount counts for both.
inline void MakeMonotone(cluster::Curve& curve) {
  for (size_t i = curve.points.size(); i-- > 1;) {
    curve.points[i - 1].seconds = std::min(curve.points[i - 1].seconds, curve.points[i].seconds);
  }
}

inline double SecondsBetween(MonotonicTime begin, MonotonicTime end) {
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace alpa::worker
