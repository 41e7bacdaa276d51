#include "base/log.h"

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/status.h"

namespace alpa {
namespace {

constexpr size_t kQueueLines = 8192;  // maximum number of queued lines; each additional line drops the oldest

struct RunningLog {
  bool json = false;
  std::string component;
  std::shared_ptr<spdlog::details::thread_pool> pool;  // owned here, because the logger has only a weak reference
  std::shared_ptr<spdlog::async_logger> logger;
};

std::atomic<int> least_level = static_cast<int>(LogLevel::kInfo);
std::mutex running_mutex;

std::shared_ptr<RunningLog>& Running() {
  static auto* running = new std::shared_ptr<RunningLog>;
  return *running;
}

absl::string_view NameOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kError: return "error";
  }
  return "?";
}

std::optional<LogLevel> ParseLevel(absl::string_view name) {
  for (LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (name == NameOf(level)) return level;
  }
  return std::nullopt;
}

// Returns `text` as one line, with control characters escaped as in JSON. If `json`, also escapes quotes and
// backslashes.
std::string Escape(absl::string_view text, bool json) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<int>(c));
    } else if (json && (c == '"' || c == '\\')) {
      out += '\\';
      out += c;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string FormatLogLine(bool json, LogLevel level, absl::string_view component, const LogFields& fields,
                          absl::string_view message, absl::string_view time) {
  std::string line;
  if (json) {
    line = absl::StrCat("{\"time\":\"", time, "\",\"level\":\"", NameOf(level), "\"");
    auto field = [&](absl::string_view name, absl::string_view value) {
      if (!value.empty()) absl::StrAppend(&line, ",\"", name, "\":\"", Escape(value, true), "\"");
    };
    field("component", component);
    field("job", fields.job);
    if (fields.step >= 0) absl::StrAppend(&line, ",\"step\":", fields.step);
    field("worker", fields.worker);
    absl::StrAppend(&line, ",\"message\":\"", Escape(message, true), "\"}");
    return line;
  }
  line = absl::StrFormat("%s %-7s", time, NameOf(level));
  if (!component.empty()) absl::StrAppend(&line, " ", component);
  if (!fields.job.empty()) absl::StrAppend(&line, " job=", Escape(fields.job, false));
  if (fields.step >= 0) absl::StrAppend(&line, " step=", fields.step);
  if (!fields.worker.empty()) absl::StrAppend(&line, " worker=", Escape(fields.worker, false));
  absl::StrAppend(&line, ": ", Escape(message, false));
  return line;
}

absl::Status StartLog(const LogOptions& options) {
  if (options.format != "text" && options.format != "json") {
    return InvalidArgument("log format '%s' is unknown; expected text or json", options.format);
  }
  std::optional<LogLevel> level = ParseLevel(options.level);
  if (!level.has_value()) {
    return InvalidArgument("log level '%s' is unknown; expected debug, info, warning or error", options.level);
  }
  StopLog();
  auto running = std::make_shared<RunningLog>();
  running->json = options.format == "json";
  running->component = options.component;
  try {
    running->pool = std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1);
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    running->logger = std::make_shared<spdlog::async_logger>("alpa", std::move(sink), running->pool,
                                                             spdlog::async_overflow_policy::overrun_oldest);
    running->logger->set_pattern("%v");
    running->logger->set_level(spdlog::level::trace);
    running->logger->flush_on(spdlog::level::trace);
  } catch (const std::exception& e) {
    return Internal("cannot start the log: %s", e.what());
  }
  least_level = static_cast<int>(*level);
  std::lock_guard<std::mutex> lock(running_mutex);
  Running() = std::move(running);
  static const int registered = std::atexit(StopLog);
  (void)registered;
  return absl::OkStatus();
}

void StopLog() {
  std::shared_ptr<RunningLog> ended;
  {
    std::lock_guard<std::mutex> lock(running_mutex);
    ended = std::move(Running());
    Running() = nullptr;
  }
  if (ended == nullptr) return;
  const size_t dropped = ended->pool->overrun_counter();
  if (dropped > 0) {
    ended->logger->info(
        "{}", FormatLogLine(ended->json, LogLevel::kWarning, ended->component, {},
                            absl::StrCat(dropped, " log lines were dropped because the log could not keep up"),
                            FormatWallTime(Clock::Real().WallNow())));
  }
  ended->logger.reset();
  ended.reset();  // the destructor of the pool writes the queued lines
}

bool LogEnabled(LogLevel level) { return static_cast<int>(level) >= least_level.load(std::memory_order_relaxed); }

void Log(LogLevel level, const LogFields& fields, absl::string_view message) {
  if (!LogEnabled(level)) return;
  std::shared_ptr<RunningLog> running;
  {
    std::lock_guard<std::mutex> lock(running_mutex);
    running = Running();
  }
  const std::string time = FormatWallTime(Clock::Real().WallNow());
  if (running == nullptr) {
    std::string line = absl::StrCat(FormatLogLine(false, level, "", fields, message, time), "\n");
    std::fwrite(line.data(), 1, line.size(), stderr);
    return;
  }
  // The line is an argument of "{}", so spdlog does not read braces in the message as a format.
  running->logger->info("{}", FormatLogLine(running->json, level, running->component, fields, message, time));
}

}  // namespace alpa
