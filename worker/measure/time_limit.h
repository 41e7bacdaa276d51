// Until when measuring may go on. Measurements that would be welcome but are not needed are skipped once time is up, so that a
// slow machine gives fewer numbers, not a slow start.
//
// Threads: value type.
#pragma once

#include "base/clock.h"

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

inline double SecondsBetween(MonotonicTime begin, MonotonicTime end) { return std::chrono::duration<double>(end - begin).count(); }

}  // namespace alpa::worker
