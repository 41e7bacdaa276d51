#include "client/cli/progress.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"

namespace alpa::client {
namespace {

constexpr int kBarWidth = 24;                                       // in characters
constexpr Duration kBetweenLines = std::chrono::seconds(1);         // minimum time between two lines
constexpr Duration kBetweenDraws = std::chrono::milliseconds(100);  // minimum time between two drawings of the bar

}  // namespace

Progress::Progress(int64_t total_steps, bool fancy) : total_steps_(total_steps), fancy_(fancy) {}

void Progress::Step(const StepMetrics& metrics) {
  const bool first = first_step_ == 0;
  if (first) first_step_ = metrics.step;
  smooth_seconds_ = first ? metrics.seconds : 0.9 * smooth_seconds_ + 0.1 * metrics.seconds;
  const MonotonicTime now = Clock::Real().Now();
  const bool must = first || metrics.step == total_steps_;
  if (!must && now - last_line_ < (fancy_ ? kBetweenDraws : kBetweenLines)) return;
  last_line_ = now;
  if (fancy_) return DrawBar(metrics);
  std::fprintf(stderr, "%s\n", Text(metrics).c_str());
}

std::string Progress::Text(const StepMetrics& metrics) const {
  std::string out = absl::StrCat("step ", metrics.step);
  if (total_steps_ > 0) absl::StrAppend(&out, "/", total_steps_);
  if (const ScalarMetric* loss = LossOf(metrics)) absl::StrAppendFormat(&out, "  loss %.4f", loss->value);
  absl::StrAppend(&out, "  ", Seconds(metrics.seconds));
  if (total_steps_ > metrics.step) {
    absl::StrAppend(&out, "  ", Seconds(smooth_seconds_ * static_cast<double>(total_steps_ - metrics.step)), " to go");
  }
  return out;
}

void Progress::DrawBar(const StepMetrics& metrics) {
  std::string bar;
  if (total_steps_ > 0) {
    const int filled = static_cast<int>(kBarWidth * std::min(metrics.step, total_steps_) / total_steps_);
    bar = absl::StrCat("[", std::string(filled, '#'), std::string(kBarWidth - filled, '.'), "] ");
  }
  std::fprintf(stderr, "\r\033[K%s%s", bar.c_str(), Text(metrics).c_str());
  std::fflush(stderr);
  open_line_ = true;
  if (metrics.step == total_steps_) End();
}

void Progress::End() {
  if (open_line_) std::fprintf(stderr, "\n");
  open_line_ = false;
}

}  // namespace alpa::client
