#include "coordinator/http/api.h"

#include <google/protobuf/util/json_util.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace alpa::coordinator {
namespace {

using nlohmann::json;

constexpr size_t kTimelinePoints = 2000;  // maximum number of steps in one answer

json Number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

// Returns the JSON text. All text in the core should be valid UTF-8. If some text is not, replaces its invalid bytes,
// so that the page works nevertheless.
std::string Text(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"; }

json Workers(const Core& core, const proto::ClusterReply& cluster) {
  json workers = json::array();
  for (const proto::WorkerState& worker : cluster.workers()) {
    const WorkerRecord& record = core.workers().at(worker.name());
    json devices = json::array();
    for (int i = 0; i < worker.devices_size(); ++i) {
      const proto::DeviceState& device = worker.devices(i);
      const bool known = worker.up() && static_cast<size_t>(i) < record.bytes_in_use.size();
      devices.push_back({{"id", device.id()},
                         {"kind", device.kind()},
                         {"memory_bytes", device.memory_bytes()},
                         {"used_bytes", known ? json(record.bytes_in_use[static_cast<size_t>(i)]) : json(nullptr)},
                         {"job_id", device.job_id()}});
    }
    workers.push_back({{"name", worker.name()},
                       {"incarnation", worker.incarnation()},
                       {"up", worker.up()},
                       {"tensor_address", worker.tensor_address()},
                       {"heartbeat_age_seconds", Number(worker.heartbeat_age_seconds())},
                       {"devices", devices}});
  }
  return workers;
}

json JobFields(const proto::Job& job, const JobRecord& record) {
  json out = {{"job_id", job.job_id()},
              {"name", job.name()},
              {"state", proto::Job::State_Name(job.state())},
              {"reason", job.reason()},
              {"cause", proto::Job::Cause_Name(job.cause())},
              {"error_reason", job.error_reason()},
              {"failed_worker", job.failed_worker()},
              {"failed_op", job.failed_op()},
              {"epoch", job.epoch()},
              {"created_unix_ms", job.created_unix_ms()},
              {"changed_unix_ms", job.changed_unix_ms()},
              {"steps_done", job.steps_done()},
              {"steps_accepted", record.accepted},
              {"total_steps", job.total_steps()},
              {"last_loss", Number(job.last_loss())},
              {"median_step_seconds", job.median_step_seconds() > 0 ? json(job.median_step_seconds()) : json(nullptr)},
              {"devices", std::vector<int32_t>(job.devices().begin(), job.devices().end())}};
  out["last_step_sent_bytes"] = record.results.empty() ? json(nullptr) : json(record.results.back().sent_bytes());
  const double predicted = record.plan == nullptr ? 0 : record.plan->predicted_step_seconds();
  out["predicted_step_seconds"] = predicted > 0 ? json(predicted) : json(nullptr);
  out["device_bytes"] = job.device_bytes() > 0 ? json(job.device_bytes()) : json(nullptr);
  out["predicted_device_bytes"] = predicted > 0 ? json(record.plan->predicted_peak_device_bytes()) : json(nullptr);
  return out;
}

const JobRecord* Find(const Core& core, const std::string& job_id) {
  const auto found = core.jobs().find(job_id);
  return found == core.jobs().end() ? nullptr : &found->second;
}

}  // namespace

std::string ClusterJson(const Core& core) {
  const proto::ClusterReply cluster = core.Cluster();
  return Text({{"cluster_epoch", cluster.cluster_epoch()},
               {"version", cluster.version()},
               {"draining", core.draining()},
               {"workers", Workers(core, cluster)}});
}

std::string WorkersJson(const Core& core) { return Text({{"workers", Workers(core, core.Cluster())}}); }

std::string JobsJson(const Core& core) {
  json jobs = json::array();
  for (const proto::Job& job : core.ListJobs()) jobs.push_back(JobFields(job, core.jobs().at(job.job_id())));
  return Text({{"jobs", jobs}});
}

std::optional<std::string> JobJson(const Core& core, const std::string& job_id) {
  const JobRecord* record = Find(core, job_id);
  if (record == nullptr) return std::nullopt;
  const auto job = core.GetJob(job_id);
  if (!job.ok()) return std::nullopt;
  json out = JobFields(*job, *record);
  out["plan_text"] = job->plan_text();
  return Text(out);
}

std::optional<std::string> PlanJson(const Core& core, const std::string& job_id) {
  const JobRecord* record = Find(core, job_id);
  if (record == nullptr) return std::nullopt;
  json out = {{"job_id", job_id}, {"text", record->job.plan_text()}, {"plan", nullptr}};
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string plan;
  if (record->plan != nullptr && google::protobuf::util::MessageToJsonString(*record->plan, &plan, options).ok()) {
    out["plan"] = json::parse(plan, nullptr, /*allow_exceptions=*/false);
  }
  out["spans"] = json::array();
  for (const PlannedSpan& span : record->spans) {
    out["spans"].push_back({{"mesh", span.mesh},
                            {"program", span.program},
                            {"begin", Number(span.begin)},
                            {"end", Number(span.end)}});
  }
  return Text(out);
}

std::optional<std::string> TimelineJson(const Core& core, const std::string& job_id) {
  const JobRecord* record = Find(core, job_id);
  if (record == nullptr) return std::nullopt;
  json steps = json::array();
  const size_t kept = record->results.size();
  const size_t stride = std::max<size_t>(1, (kept + kTimelinePoints - 1) / kTimelinePoints);
  for (size_t i = kept == 0 ? 0 : (kept - 1) % stride; i < kept; i += stride) {
    const proto::StepResult& result = record->results[i];
    steps.push_back({{"step", result.step()},
                     {"seconds", Number(result.seconds())},
                     {"loss", Number(Core::LossOf(*record, result))},
                     {"unix_ms", result.unix_ms()}});
  }
  return Text({{"job_id", job_id}, {"steps", steps}});
}

}  // namespace alpa::coordinator
