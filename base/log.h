// The log of a program: lines on stderr, as text or as JSON objects. A line may name its job, step and worker.
//
//   LogInfo("listening on %s", address);
//   LogWarning({.job = id, .step = 7, .worker = name}, "step took %.1f s", seconds);
//
// Model:   Lines go into a bounded queue, and a thread of the log writes them, so no caller waits for a slow terminal.
//          If the queue is full, the oldest line is dropped. StopLog logs the number of dropped lines. Before StartLog
//          and after StopLog, the caller writes its line immediately. Times are RFC 3339 in UTC. Line breaks and
//          control characters in a message are escaped, so each event is one line.
// Threads: all functions are thread-safe. Only main() should call StartLog and StopLog.
// Secrets: never log tensors, programs or tokens.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace alpa {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

struct LogOptions {
  std::string format = "text";  // or "json"
  std::string level = "info";   // lowest level that is written: debug, info, warning or error
  std::string component;        // appears in every line: "coordinator", "worker"
};

// Starts the log, or restarts it with other options. Returns kInvalidArgument for an unknown format or level, and
// leaves the log unchanged in this case.
absl::Status StartLog(const LogOptions& options);
// Writes the queued lines and ends the thread of the log. exit() also calls this function.
void StopLog();

// The job, step and worker that a line is about. Empty fields, and a negative step, are not printed.
struct LogFields {
  absl::string_view job = {};
  int64_t step = -1;
  absl::string_view worker = {};
};

bool LogEnabled(LogLevel level);
void Log(LogLevel level, const LogFields& fields, absl::string_view message);

template <typename... Args>
void LogDebug(const LogFields& fields, const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, fields, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogInfo(const LogFields& fields, const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kInfo)) Log(LogLevel::kInfo, fields, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogWarning(const LogFields& fields, const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kWarning)) Log(LogLevel::kWarning, fields, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogError(const LogFields& fields, const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kError)) Log(LogLevel::kError, fields, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogDebug(const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, {}, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogInfo(const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kInfo)) Log(LogLevel::kInfo, {}, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogWarning(const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kWarning)) Log(LogLevel::kWarning, {}, absl::StrFormat(format, args...));
}
template <typename... Args>
void LogError(const absl::FormatSpec<Args...>& format, const Args&... args) {
  if (LogEnabled(LogLevel::kError)) Log(LogLevel::kError, {}, absl::StrFormat(format, args...));
}

// Returns one formatted line, without the line break. For tests, and for programs that write their log lines to a place
// other than stderr.
std::string FormatLogLine(bool json, LogLevel level, absl::string_view component, const LogFields& fields,
                          absl::string_view message, absl::string_view time);

}  // namespace alpa
