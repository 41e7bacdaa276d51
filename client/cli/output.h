// Formats data for stdout: jobs, workers, events and metrics, as text and as JSON.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/lib/metrics.h"
#include "proto/job_service.pb.h"

namespace alpa::client {

// Returns a text table. Columns are padded to their widest cell, with two spaces between them and no trailing spaces.
std::string Table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

std::string JobJson(const proto::Job& job, bool with_plan);  // one line
// Returns JobJson(job, false) with two more members: "metrics" of the last step (null if `last` is null) and "output",
// the folder of results (null if `output` is empty).
std::string SubmittedJson(const proto::Job& job, const StepMetrics* last, absl::string_view output);
// Returns one JSON value per line, or a JSON array of all values.
std::string JsonLines(const std::vector<std::string>& values, bool as_array);
std::string JobsTable(const std::vector<proto::Job>& jobs, int64_t now_unix_ms);
std::string JobText(const proto::Job& job, int64_t now_unix_ms);  // one job in full, human-readable
std::string ClusterJson(const proto::ClusterReply& cluster);
std::string WorkerJson(const proto::WorkerState& worker);
std::string ClusterTable(const proto::ClusterReply& cluster);
std::string EventLine(const proto::JobEvent& event, bool json);
std::string StepsLine(const proto::Job& job, int64_t now_unix_ms, bool json);  // the job's progress, as in EventLine

std::string Seconds(double seconds);    // "340 us", "12.3 ms", "4.56 s", "3 min 20 s"
std::string Age(int64_t milliseconds);  // "12s", "5m", "3h", "2d"
std::string ByteCount(int64_t bytes);   // "512 MiB"
// Returns `text` with a space for each control character except line ends. Text from other processes must pass through
// this function before it reaches a terminal.
std::string Harmless(absl::string_view text);
std::string JsonString(absl::string_view text);  // a JSON string literal

}  // namespace alpa::client
