// Formats jobs, workers, events and metrics for stdout, as text and as JSON.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/lib/metrics.h"
#include "proto/job_service.pb.h"

namespace alpa::client {

// Returns a text table. Each column is as wide as its widest cell. Two spaces separate the columns, and no line has
// trailing spaces.
std::string Table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

std::string JobJson(const proto::Job& job, bool with_plan);  // one line
// Returns JobJson(job, false) with two more members. "metrics" has the metrics of the last step, or null if `last` is
// null. "output" is the folder of the results, or null if `output` is empty.
std::string SubmittedJson(const proto::Job& job, const StepMetrics* last, absl::string_view output);
// Returns the JSON values, one per line, or as one JSON array if `as_array`.
std::string JsonLines(const std::vector<std::string>& values, bool as_array);
std::string JobsTable(const std::vector<proto::Job>& jobs, int64_t now_unix_ms);
std::string JobText(const proto::Job& job, int64_t now_unix_ms);  // all facts about one job
std::string ClusterJson(const proto::ClusterReply& cluster);
std::string WorkerJson(const proto::WorkerState& worker);
std::string ClusterTable(const proto::ClusterReply& cluster);
std::string EventLine(const proto::JobEvent& event, bool json);
std::string StepsLine(const proto::Job& job, int64_t now_unix_ms, bool json);  // the progress, formatted like an event

std::string Seconds(double seconds);    // "340 us", "12.3 ms", "4.56 s", "3 min 20 s"
std::string Age(int64_t milliseconds);  // "12s", "5m", "3h", "2d"
std::string ByteCount(int64_t bytes);   // "512 MiB"
// Returns `text` with a space in place of each control character, except line ends. Text from other processes must pass
// through this function before it is printed on a terminal.
std::string Harmless(absl::string_view text);
std::string JsonString(absl::string_view text);  // returns a JSON string literal

}  // namespace alpa::client
