// Data for stdout: jobs, workers and metrics as tables and as JSON.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/lib/metrics.h"
#include "proto/job_service.pb.h"

namespace alpa::client {

// Columns padded to their widest cell; two spaces between; no trailing spaces.
std::string Table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

std::string JobJson(const proto::Job& job, bool with_plan);  // one line
// The same with the last step's metrics (null: none) and the folder of results (empty: none).
std::string SubmittedJson(const proto::Job& job, const StepMetrics* last, absl::string_view output);
// One value a line, or a JSON array of them.
std::string JsonLines(const std::vector<std::string>& values, bool as_array);
std::string JobsTable(const std::vector<proto::Job>& jobs, int64_t now_unix_ms);
std::string JobText(const proto::Job& job, int64_t now_unix_ms);  // all about one job, for people
std::string ClusterJson(const proto::ClusterReply& cluster);
std::string WorkerJson(const proto::WorkerState& worker);
std::string ClusterTable(const proto::ClusterReply& cluster);
std::string EventLine(const proto::JobEvent& event, bool json);
std::string StepsLine(const proto::Job& job, int64_t now_unix_ms, bool json);  // how far it is, as an event

std::string Seconds(double seconds);    // "340 us", "12.3 ms", "4.56 s", "3 min 20 s"
std::string Age(int64_t milliseconds);  // "12s", "5m", "3h", "2d"
std::string ByteCount(int64_t bytes);   // "512 MiB"
// Text that others wrote, without control characters (but line ends), which must not reach a terminal.
std::string Harmless(absl::string_view text);
std::string JsonString(absl::string_view text);

}  // namespace alpa::client
