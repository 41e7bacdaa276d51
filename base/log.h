// What a program tells its operator: lines on stderr, as text or as JSON objects, with the job, step and worker that they
// are about.
//
//   LogInfo("listening on %s", address);
//   LogWarning({.job = id, .step = 7, .worker = name}, "step took %.1f s", seconds);
//
// Model:   Lines go to a bounded queue that a thread of the log's own writes out, so that no caller waits for a slow
//          terminal; when it is full the oldest line is dropped, and the number dropped is told at the end. Before
//          StartLog and after StopLog lines are written at once. Times are RFC 3339 in UTC. Line breaks and control
//          characters in a message are escaped: one event, one line.
// Threads: all functions are thread-safe, but StartLog and StopLog belong to main().
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
  std::string level = "info";   // lines below it are not written: debug, info, warning, error
  std::string component;        // field of every line: "coordinator", "worker"
};

// kInvalidArgument for an unknown format or level; the log is then as before.
absl::Status StartLog(const LogOptions& options);
// Writes out what is queued and ends the thread. Also happens at exit().
void StopLog();

// What a line is about; what is left empty is not printed.
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

// One line as it is written, without its end: for tests and for programs that write elsewhere.
std::string FormatLogLine(bool json, LogLevel level, absl::string_view component, const LogFields& fields,
                          absl::string_view message, absl::string_view time);

}  // namespace alpa
