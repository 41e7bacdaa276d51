// A histogram of durations with fixed buckets, in the form that Prometheus expects.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace alpa::coordinator {

struct Histogram {
  // Upper bounds of the buckets, in seconds.
  static constexpr std::array<double, 14> kBounds = {0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3,
                                                     1,      3,     10,    30,   100,  300, 1000};

  std::array<int64_t, kBounds.size()> at_most{};  // cumulative: number of values <= kBounds[i]
  int64_t count = 0;
  double sum = 0;

  void Add(double value) {
    for (size_t i = 0; i < kBounds.size(); ++i) at_most[i] += value <= kBounds[i];
    ++count;
    sum += value;
  }
};

}  // namespace alpa::coordinator
