// Shows the progress of a job on stderr, as a bar that redraws itself on a terminal, or as plain lines elsewhere.
//
// Threads: thread-compatible.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "client/lib/metrics.h"

namespace alpa::client {

class Progress {
 public:
  // `total_steps`: 0 if not known. `fancy`: whether to draw a bar. Without a bar, prints at most one line per second,
  // but the first step and the last step always get a line.
  Progress(int64_t total_steps, bool fancy);
  ~Progress() { End(); }

  void Step(const StepMetrics& metrics);
  // Ends the bar's line, so that other text can follow. Call it before each message.
  void End();

 private:
  std::string Text(const StepMetrics& metrics) const;
  void DrawBar(const StepMetrics& metrics);

  const int64_t total_steps_;
  const bool fancy_;
  bool open_line_ = false;
  int64_t first_step_ = 0;
  double smooth_seconds_ = 0;  // seconds per step, as an exponential moving average
  MonotonicTime last_line_{};
};

}  // namespace alpa::client
