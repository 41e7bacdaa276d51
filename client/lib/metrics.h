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
  std::vector<ScalarMetric> scalars;  // aux of rank 0, by graph result
};

// Returns the metrics of a step. Leaves out scalars that the result lacks, or whose size does not match their dtype.
StepMetrics MetricsOf(const proto::StepResult& result, const JobDescription& job);
// Returns one line of metrics.jsonl, without its line end: {"step":1,"seconds":0.25,"aux['loss']":5.5}
std::string MetricsLine(const StepMetrics& metrics);
// Returns the scalar to show as the loss: the first float whose path contains "loss", otherwise the first float.
// Returns null if there is no float.
const ScalarMetric* LossOf(const StepMetrics& metrics);

// Returns the shortest JSON number that reads back as `value`, or "null" if `value` is not finite. `single_precision`:
// the number only has to read back as the same float, which keeps f32 and 16-bit values short.
std::string JsonNumber(double value, bool single_precision);

}  // namespace alpa::client
