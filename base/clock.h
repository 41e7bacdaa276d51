// An interface for reading the time. In tests, a daemon core reads a FakeClock.
//
// Threads: implementations are thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

namespace alpa {

using Duration = std::chrono::nanoseconds;
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime Now() const = 0;  // for durations and deadlines
  virtual WallTime WallNow() const = 0;   // for human-readable records

  // Returns the clock of this machine.
  static Clock& Real();
};

// A clock that moves only when Advance is called.
class FakeClock : public Clock {
 public:
  MonotonicTime Now() const override { return MonotonicTime(Duration(nanos_.load())); }
  WallTime WallNow() const override { return WallTime(Duration(nanos_.load())); }
  void Advance(Duration d) { nanos_ += d.count(); }

 private:
  std::atomic<int64_t> nanos_{0};
};

// Formats a time as RFC 3339 in UTC with milliseconds: "2026-01-31T12:00:00.123Z".
std::string FormatWallTime(WallTime time);

}  // namespace alpa
