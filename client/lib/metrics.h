// What a step reported, as numbers with names, and as a line of metrics.jsonl.
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
  std::string json;  // exact for integers; null where JSON has no such number
  bool is_float = false;
};
struct StepMetrics {
  int64_t step = 0;  // from 1
  double seconds = 0;
  std::vector<ScalarMetric> scalars;  // aux of rank 0, by graph result
};

// Scalars that the result lacks, or whose size is not the dtype's, are left out.
StepMetrics MetricsOf(const proto::StepResult& result, const JobDescription& job);
// {"step":1,"seconds":0.25,"aux['loss']":5.5}
std::string MetricsLine(const StepMetrics& metrics);
// The scalar that people watch: the first float whose path says "loss", else the first float; null: none.
const ScalarMetric* LossOf(const StepMetrics& metrics);

// A double as the shortest JSON number that reads back the same; f32 and 16-bit values come out short.
std::string JsonNumber(double value, bool single_precision);

}  // namespace alpa::client
