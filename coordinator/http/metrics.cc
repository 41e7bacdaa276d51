#include <map>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "coordinator/http/status_server.h"

namespace alpa::coordinator {
namespace {

std::string Escaped(const std::string& label) { return absl::StrReplaceAll(label, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}); }

class Writer {
 public:
  void Family(const char* name, const char* type, const char* help) {
    absl::StrAppendFormat(&text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
  }
  void Sample(const std::string& name, const std::string& labels, double value) {
    absl::StrAppendFormat(&text, "%s%s %.17g\n", name, labels.empty() ? "" : "{" + labels + "}", value);
  }
  std::string text;
};

std::string Label(const char* name, const std::string& value) { return absl::StrFormat("%s=\"%s\"", name, Escaped(value)); }

}  // namespace

std::string Metrics(Coordinator& coordinator, const std::string& version) {
  Writer out;
  out.Family("alpa_build_info", "gauge", "Always 1; the version is a label.");
  out.Sample("alpa_build_info", Label("version", version), 1);
  const Coordinator::Counters counters = coordinator.counters();
  coordinator.With([&](Core& core) {
    std::map<std::string, int> by_state;
    for (int s = 0; proto::Job::State_IsValid(s); ++s) by_state[proto::Job::State_Name(static_cast<proto::Job::State>(s))] = 0;
    for (const auto& [id, record] : core.jobs()) ++by_state[proto::Job::State_Name(record.job.state())];
    out.Family("alpa_coordinator_jobs", "gauge", "Jobs by state.");
    for (const auto& [state, n] : by_state) out.Sample("alpa_coordinator_jobs", Label("state", state), n);
    const proto::ClusterReply cluster = core.Cluster();
    out.Family("alpa_worker_up", "gauge", "1 while the worker's session lives.");
    for (const auto& worker : cluster.workers()) out.Sample("alpa_worker_up", Label("worker", worker.name()), worker.up());
    out.Family("alpa_worker_heartbeat_age_seconds", "gauge", "Time since the worker was last heard of.");
    for (const auto& worker : cluster.workers()) {
      out.Sample("alpa_worker_heartbeat_age_seconds", Label("worker", worker.name()), worker.heartbeat_age_seconds());
    }
    out.Family("alpa_worker_device_memory_bytes", "gauge", "Memory in use on the worker's devices together.");
    for (const auto& [name, worker] : core.workers()) {
      double bytes = 0;
      for (int64_t b : worker.bytes_in_use) bytes += static_cast<double>(b);
      out.Sample("alpa_worker_device_memory_bytes", Label("worker", name) + "," + Label("kind", "used"), bytes);
    }
    out.Family("alpa_job_steps_total", "counter", "Steps that are done.");
    for (const auto& [id, record] : core.jobs()) out.Sample("alpa_job_steps_total", Label("job", id), static_cast<double>(record.done));
    out.Family("alpa_job_last_step_timestamp_seconds", "gauge", "When the last step was done.");
    for (const auto& [id, record] : core.jobs()) {
      if (record.results.empty()) continue;
      out.Sample("alpa_job_last_step_timestamp_seconds", Label("job", id), static_cast<double>(record.results.back().unix_ms()) / 1e3);
    }
    // Over the steps that are kept.
    static constexpr double kBounds[] = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100};
    out.Family("alpa_job_step_duration_seconds", "histogram", "Step time, from dispatch to the last worker's report.");
    for (const auto& [id, record] : core.jobs()) {
      double sum = 0;
      std::vector<int64_t> counts(std::size(kBounds), 0);
      for (const proto::StepResult& result : record.results) {
        sum += result.seconds();
        for (size_t b = 0; b < std::size(kBounds); ++b) counts[b] += result.seconds() <= kBounds[b];
      }
      for (size_t b = 0; b < std::size(kBounds); ++b) {
        out.Sample("alpa_job_step_duration_seconds_bucket", Label("job", id) + "," + Label("le", absl::StrFormat("%g", kBounds[b])),
                   static_cast<double>(counts[b]));
      }
      const double n = static_cast<double>(record.results.size());
      out.Sample("alpa_job_step_duration_seconds_bucket", Label("job", id) + "," + Label("le", "+Inf"), n);
      out.Sample("alpa_job_step_duration_seconds_sum", Label("job", id), sum);
      out.Sample("alpa_job_step_duration_seconds_count", Label("job", id), n);
    }
    return 0;
  });
  out.Family("alpa_coordinator_submits_total", "counter", "Submissions by status code.");
  for (const auto& [code, n] : counters.submits) out.Sample("alpa_coordinator_submits_total", Label("code", code), static_cast<double>(n));
  out.Family("alpa_planner_duration_seconds", "summary", "Time from import to executable.");
  out.Sample("alpa_planner_duration_seconds_sum", "", counters.planning_seconds);
  out.Sample("alpa_planner_duration_seconds_count", "", static_cast<double>(counters.plans));
  return out.text;
}

}  // namespace alpa::coordinator
