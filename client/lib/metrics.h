// Converts the result of a step into named numbers, and into a line of metrics.jsonl.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/lib/job_directory.h"
#include "proto/job_service.pb.h"

namespace alpa::client {

struct ScalarMetric {
  std::string path;  // "aux['loss']"
  double value = 0;
  std::string json;  // the value as JSON: exact for integers, null for NaN and infinities
  bool is_float = false;
};
struct StepMetrics {
  int64_t step = 0;  // from 1
  double seconds = 0;
  std::vector<ScalarMetric> scalars;  // the aux outputs of rank 0, in the order of graph results
};

// Returns the metrics of a step. Leaves out a scalar that is not in the result, or whose size does not match its dtype.
StepMetrics MetricsOf(const proto::StepResult& result, const JobDescription& job);
// Returns one line of metrics.jsonl, without a line end: {"step":1,"seconds":0.25,"aux['loss']":5.5}
std::string MetricsLine(const StepMetrics& metrics);
// Returns the scalar to show as the loss: the first float whose path contains "loss". If no path contains "loss",
// returns the first float. If there is no float at all, returns null.
const ScalarMetric* LossOf(const StepMetrics& metrics);

// Returns the shortest JSON number that is parsed as `value`, or "null" if `value` is not finite. If
// `single_precision`, the number only has to be parsed as the same float, so f32 and 16-bit values stay short.
std::string JsonNumber(double value, bool single_precision);

}  // namespace alpa::client
