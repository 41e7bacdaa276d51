#include "coordinator/http/metrics.h"

#include <charconv>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/clock.h"

namespace alpa::coordinator {
namespace {

constexpr int64_t kEndedShownMillis = 3600 * 1000;  // for this time, an ended job stays in the metrics

std::string Label(const char* name, const std::string& value) {
  return absl::StrFormat("%s=\"%s\"", name,
                         absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}));
}

// Writes one metric. The first sample also writes the HELP and TYPE lines.
class Family {
 public:
  Family(std::string* out, const char* name, const char* type, const char* help) : out_(out), name_(name) {
    head_ = absl::StrFormat("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
  }
  void Add(const std::string& labels, double value, const char* suffix = "") {
    absl::StrAppend(out_, std::exchange(head_, ""));
    char digits[32];  // the shortest text that parses to the same value
    const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
    absl::StrAppendFormat(out_, "%s%s%s %s\n", name_, suffix, labels.empty() ? "" : "{" + labels + "}",
                          absl::string_view(digits, static_cast<size_t>(end - digits)));
  }
  void Add(const std::string& labels, const Histogram& histogram) {
    for (size_t i = 0; i < Histogram::kBounds.size(); ++i) {
      const std::string bound = absl::StrFormat("%g", Histogram::kBounds[i]);
      Add(absl::StrCat(labels, ",", Label("le", bound)), static_cast<double>(histogram.at_most[i]), "_bucket");
    }
    Add(labels + ",le=\"+Inf\"", static_cast<double>(histogram.count), "_bucket");
    Add(labels, histogram.sum, "_sum");
    Add(labels, static_cast<double>(histogram.count), "_count");
  }

 private:
  std::string* const out_;
  const char* const name_;
  std::string head_;
};

void WriteWorkers(const Core& core, std::string* out) {
  const MonotonicTime now = Clock::Real().Now();
  Family up(out, "alpa_worker_up", "gauge", "1 while the worker's session is open, 0 after it is lost.");
  for (const auto& [name, worker] : core.workers()) up.Add(Label("worker", name), worker.up);
  Family age(out, "alpa_worker_heartbeat_age_seconds", "gauge", "Time since the worker's last message.");
  for (const auto& [name, worker] : core.workers()) {
    age.Add(Label("worker", name), std::chrono::duration<double>(now - worker.last_heard).count());
  }
  Family memory(out, "alpa_worker_device_memory_bytes", "gauge",
                "Memory of all the worker's devices together: used and total.");
  for (const auto& [name, worker] : core.workers()) {
    const auto used = std::accumulate(worker.bytes_in_use.begin(), worker.bytes_in_use.end(), 0.0);
    const double total = static_cast<double>(worker.device_memory) * static_cast<double>(worker.devices.size());
    memory.Add(Label("worker", name) + "," + Label("kind", "used"), used);
    memory.Add(Label("worker", name) + "," + Label("kind", "total"), total);
  }
}

void WriteJobs(const Core& core, std::string* out) {
  const int64_t now =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::Real().WallNow().time_since_epoch()).count();
  std::map<std::string, int> by_state;
  for (int s = 0; proto::Job::State_IsValid(s); ++s)
    by_state[proto::Job::State_Name(static_cast<proto::Job::State>(s))] = 0;
  std::vector<std::pair<std::string, const JobRecord*>> shown;  // label, job
  for (const auto& [id, record] : core.jobs()) {
    ++by_state[proto::Job::State_Name(record.job.state())];
    const bool old = record.final() && now - record.job.changed_unix_ms() > kEndedShownMillis;
    if (record.plan != nullptr && !old) shown.emplace_back(Label("job", id), &record);
  }
  Family jobs(out, "alpa_coordinator_jobs", "gauge", "Jobs by state.");
  for (const auto& [state, n] : by_state) jobs.Add(Label("state", state), n);
  Family predicted(out, "alpa_planner_predicted_step_seconds", "gauge",
                   "Step time that the planner predicted.");
  for (const auto& [job, record] : shown) {
    if (record->plan->predicted_step_seconds() > 0) predicted.Add(job, record->plan->predicted_step_seconds());
  }
  Family bytes(out, "alpa_planner_predicted_memory_bytes", "gauge",
               "Peak memory per device that the planner predicted.");
  for (const auto& [job, record] : shown) {
    const auto peak = static_cast<double>(record->plan->predicted_peak_device_bytes());
    if (peak > 0) bytes.Add(job, peak);
  }
  Family steps(out, "alpa_job_steps_total", "counter", "Number of steps done.");
  for (const auto& [job, record] : shown) steps.Add(job, static_cast<double>(record->done));
  Family seconds(out, "alpa_job_step_duration_seconds", "histogram",
                 "Step time, from dispatch to the last worker's report.");
  for (const auto& [job, record] : shown) seconds.Add(job, record->step_seconds);
  Family sent(out, "alpa_job_sent_bytes_total", "counter", "Bytes that the job's devices sent to each other.");
  for (const auto& [job, record] : shown) sent.Add(job, record->sent_bytes);
  Family last(out, "alpa_job_last_step_timestamp_seconds", "gauge", "Unix time at which the last step was done.");
  for (const auto& [job, record] : shown) {
    if (!record->results.empty()) last.Add(job, static_cast<double>(record->results.back().unix_ms()) / 1e3);
  }
}

}  // namespace

std::string Metrics(Coordinator& coordinator, const std::string& version) {
  std::string out;
  Family(&out, "alpa_build_info", "gauge", "Always 1; the version is a label.").Add(Label("version", version), 1);
  const Coordinator::Counters counters = coordinator.counters();
  Family submits(&out, "alpa_coordinator_submits_total", "counter", "Submissions by status code.");
  for (const auto& [code, n] : counters.submits) submits.Add(Label("code", code), static_cast<double>(n));
  Family planning(&out, "alpa_planner_duration_seconds", "histogram", "Planning time by phase.");
  for (const auto& [phase, histogram] : counters.planning_seconds) planning.Add(Label("phase", phase), histogram);
  coordinator.With([&](Core& core) {
    WriteWorkers(core, &out);
    WriteJobs(core, &out);
  });
  return out;
}

}  // namespace alpa::coordinator
