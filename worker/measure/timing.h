// Until when measuring may go on, and what is made of times that were measured.
//
// Model:   measurements that would be welcome but are not needed are left out once time is up, so that a slow machine gives fewer
//          numbers, not a slow start.
// Threads: value types and pure functions.
#pragma once

#include <algorithm>

#include "base/clock.h"
#include "cluster/curve.h"

namespace alpa::worker {

class TimeLimit {
 public:
  explicit TimeLimit(double seconds) : end_(Clock::Real().Now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds))) {}
  MonotonicTime end() const { return end_; }
  double left() const { return std::chrono::duration<double>(end_ - Clock::Real().Now()).count(); }
  // Whether something that takes so long may still begin.
  bool Allows(double seconds) const { return left() >= seconds; }

 private:
  MonotonicTime end_;
};

// More is never faster. What disturbs a measurement makes it longer, so of two that contradict each other the larger amount's counts.
inline void MakeMonotone(cluster::Curve& curve) {
  for (size_t i = curve.points.size(); i-- > 1;) {
    curve.points[i - 1].seconds = std::min(curve.points[i - 1].seconds, curve.points[i].seconds);
  }
}

inline double SecondsBetween(MonotonicTime begin, MonotonicTime end) { return std::chrono::duration<double>(end - begin).count(); }

}  // namespace alpa::worker
