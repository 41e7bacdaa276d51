#include "client/cli/output.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/clock.h"

namespace alpa::client {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string Time(int64_t unix_ms) { return FormatWallTime(WallTime(std::chrono::milliseconds(unix_ms))); }

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

std::string StepsOf(const proto::Job& job) {
  return job.total_steps() > 0 ? absl::StrCat(job.steps_done(), "/", job.total_steps())
                               : absl::StrCat(job.steps_done());
}

// Returns `text` without control characters and line ends, for a table cell or a line.
std::string Plain(absl::string_view text) { return absl::StrReplaceAll(Harmless(text), {{"\n", " "}}); }

size_t Width(const std::string& text) {
  // Counts code points. For the text in these tables, this number is close enough to the width on a terminal.
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string Harmless(absl::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f) c = ' ';
  }
  return out;
}

std::string JsonString(absl::string_view text) { return Dump(Json(std::string(text))); }

std::string Table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::string& cell : header) widths.push_back(Width(cell));
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&line, row[i], std::string(widths[i] - Width(row[i]) + 2, ' '));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&out, line, "\n");
  };
  add(header);
  for (const auto& row : rows) add(row);
  return out;
}

std::string Seconds(double seconds) {
  if (!(seconds > 0)) return "-";
  if (seconds < 1e-3) return absl::StrFormat("%.0f us", seconds * 1e6);
  if (seconds < 1) return absl::StrFormat("%.1f ms", seconds * 1e3);
  if (seconds < 100) return absl::StrFormat("%.2f s", seconds);
  const int64_t whole = static_cast<int64_t>(std::llround(std::min(seconds, 1e15)));
  if (whole < 3600) return absl::StrFormat("%d min %d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %d min", whole / 3600, whole / 60 % 60);
}

std::string Age(int64_t milliseconds) {
  const int64_t s = std::max<int64_t>(0, milliseconds / 1000);
  if (s < 120) return absl::StrCat(s, "s");
  if (s < 7200) return absl::StrCat(s / 60, "m");
  if (s < 172800) return absl::StrCat(s / 3600, "h");
  return absl::StrCat(s / 86400, "d");
}

std::string ByteCount(int64_t bytes) {
  if (bytes <= 0) return "-";
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) value /= 1024, ++unit;
  return absl::StrFormat(value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

namespace {

Json JsonOf(const proto::Job& job) {
  Json out;
  out["job_id"] = job.job_id();
  out["name"] = job.name();
  out["state"] = proto::Job::State_Name(job.state());
  out["reason"] = job.reason();
  if (job.state() == proto::Job::FAILED) {
    out["cause"] = proto::Job::Cause_Name(job.cause());
    out["error_reason"] = job.error_reason();
    out["failed_worker"] = job.failed_worker();
    out["failed_op"] = job.failed_op();
  }
  out["epoch"] = job.epoch();
  out["created"] = Time(job.created_unix_ms());
  out["changed"] = Time(job.changed_unix_ms());
  out["steps_done"] = job.steps_done();
  out["total_steps"] = job.total_steps();
  out["last_loss"] = Number(job.steps_done() > 0 ? job.last_loss() : std::nan(""));
  out["median_step_seconds"] = Number(job.median_step_seconds());
  out["predicted_step_seconds"] = Number(job.plan().predicted_step_seconds());
  out["device_bytes"] = job.device_bytes();
  out["predicted_device_bytes"] = job.plan().predicted_peak_device_bytes();
  out["devices"] = std::vector<int32_t>(job.devices().begin(), job.devices().end());
  return out;
}

}  // namespace

std::string JobJson(const proto::Job& job, bool with_plan) {
  Json out = JsonOf(job);
  if (with_plan) out["plan"] = job.plan_text();
  return Dump(out);
}

std::string SubmittedJson(const proto::Job& job, const StepMetrics* last, absl::string_view output) {
  Json out = JsonOf(job);
  out["metrics"] =
      last == nullptr ? Json(nullptr) : Json::parse(MetricsLine(*last), nullptr, /*allow_exceptions=*/false);
  out["output"] = output.empty() ? Json(nullptr) : Json(std::string(output));
  return Dump(out);
}

std::string JsonLines(const std::vector<std::string>& values, bool as_array) {
  if (as_array) return values.empty() ? "[]\n" : absl::StrCat("[\n", absl::StrJoin(values, ",\n"), "\n]\n");
  std::string out;
  for (const std::string& value : values) absl::StrAppend(&out, value, "\n");
  return out;
}

std::string JobsTable(const std::vector<proto::Job>& jobs, int64_t now_unix_ms) {
  std::vector<std::vector<std::string>> rows;
  for (const proto::Job& job : jobs) {
    const bool has_loss = job.steps_done() > 0 && std::isfinite(job.last_loss());
    rows.push_back({job.job_id(), Plain(job.name()), proto::Job::State_Name(job.state()), StepsOf(job),
                    has_loss ? absl::StrFormat("%.4f", job.last_loss()) : "-", Seconds(job.median_step_seconds()),
                    job.devices().empty() ? "-" : absl::StrJoin(job.devices(), ","),
                    Age(now_unix_ms - job.created_unix_ms()), Plain(job.reason())});
  }
  return Table({"JOB", "NAME", "STATE", "STEPS", "LOSS", "STEP TIME", "DEVICES", "AGE", "REASON"}, rows);
}

std::string JobText(const proto::Job& job, int64_t now_unix_ms) {
  std::string out;
  const auto row = [&](absl::string_view name, absl::string_view value) {
    if (!value.empty()) absl::StrAppend(&out, name, std::string(12 - name.size(), ' '), value, "\n");
  };
  row("job", job.job_id());
  row("name", Plain(job.name()));
  row("state", proto::Job::State_Name(job.state()));
  row("reason", Plain(job.reason()));
  if (job.state() == proto::Job::FAILED) {
    row("cause",
        absl::StrCat(proto::Job::Cause_Name(job.cause()), job.error_reason().empty() ? "" : " ", job.error_reason()));
    row("worker", Plain(job.failed_worker()));
    row("op", Plain(job.failed_op()));
  }
  row("steps", StepsOf(job));
  if (job.steps_done() > 0 && std::isfinite(job.last_loss())) row("loss", absl::StrFormat("%.6g", job.last_loss()));
  const auto predicted = [&](double value, const std::string& text) {
    return value > 0 ? absl::StrCat(", predicted ", text) : std::string();
  };
  if (job.median_step_seconds() > 0) {
    const double seconds = job.plan().predicted_step_seconds();
    row("step time",
        absl::StrCat(Seconds(job.median_step_seconds()), " (median)", predicted(seconds, Seconds(seconds))));
  }
  if (job.device_bytes() > 0) {
    const int64_t bytes = job.plan().predicted_peak_device_bytes();
    row("memory", absl::StrCat(ByteCount(job.device_bytes()), " on the fullest device",
                               predicted(static_cast<double>(bytes), ByteCount(bytes))));
  }
  row("devices", absl::StrJoin(job.devices(), ", "));
  row("submitted", absl::StrCat(Time(job.created_unix_ms()), " (", Age(now_unix_ms - job.created_unix_ms()), " ago)"));
  if (!job.plan_text().empty())
    absl::StrAppend(&out, "\n", Harmless(job.plan_text()), job.plan_text().back() == '\n' ? "" : "\n");
  return out;
}

namespace {

Json JsonOf(const proto::WorkerState& worker) {
  Json out;
  out["name"] = worker.name();
  out["up"] = worker.up();
  out["heartbeat_age_seconds"] = Number(worker.heartbeat_age_seconds());
  out["tensor_address"] = worker.tensor_address();
  out["devices"] = Json::array();
  for (const proto::DeviceState& device : worker.devices()) {
    out["devices"].push_back({{"id", device.id()},
                              {"kind", device.kind()},
                              {"memory_bytes", device.memory_bytes()},
                              {"job_id", device.job_id()}});
  }
  return out;
}

}  // namespace

std::string WorkerJson(const proto::WorkerState& worker) { return Dump(JsonOf(worker)); }

std::string ClusterJson(const proto::ClusterReply& cluster) {
  Json out;
  out["version"] = cluster.version();
  out["cluster_epoch"] = cluster.cluster_epoch();
  out["workers"] = Json::array();
  for (const proto::WorkerState& worker : cluster.workers()) out["workers"].push_back(JsonOf(worker));
  return Dump(out);
}

std::string ClusterTable(const proto::ClusterReply& cluster) {
  std::vector<std::vector<std::string>> rows;
  for (const proto::WorkerState& worker : cluster.workers()) {
    if (worker.devices().empty()) {
      rows.push_back({Plain(worker.name()), worker.up() ? "up" : "down", "-", "-", "-", "-", worker.tensor_address()});
    }
    for (const proto::DeviceState& device : worker.devices()) {
      rows.push_back({Plain(worker.name()), worker.up() ? "up" : "down", absl::StrCat(device.id()),
                      Plain(device.kind()), ByteCount(device.memory_bytes()),
                      device.job_id().empty() ? "free" : device.job_id(), worker.tensor_address()});
    }
  }
  return Table({"WORKER", "STATE", "DEVICE", "KIND", "MEMORY", "JOB", "TENSORS AT"}, rows);
}

std::string EventLine(const proto::JobEvent& event, bool json) {
  if (!json) return absl::StrFormat("%s  %-10s %s", Time(event.unix_ms()), Plain(event.kind()), Plain(event.message()));
  Json out;
  out["time"] = Time(event.unix_ms());
  out["kind"] = event.kind();
  out["message"] = event.message();
  return Dump(out);
}

std::string StepsLine(const proto::Job& job, int64_t now_unix_ms, bool json) {
  const bool has_loss = std::isfinite(job.last_loss());
  std::string text = StepsOf(job);
  if (has_loss) absl::StrAppendFormat(&text, "  loss %.4f", job.last_loss());
  if (job.median_step_seconds() > 0) absl::StrAppend(&text, "  ", Seconds(job.median_step_seconds()), " per step");
  if (!json) return absl::StrFormat("%s  %-10s %s", Time(now_unix_ms), "steps", text);
  Json out;
  out["time"] = Time(now_unix_ms);
  out["kind"] = "steps";
  out["message"] = text;
  out["steps_done"] = job.steps_done();
  out["total_steps"] = job.total_steps();
  out["last_loss"] = Number(job.last_loss());
  out["median_step_seconds"] = Number(job.median_step_seconds());
  return Dump(out);
}

}  // namespace alpa::client
