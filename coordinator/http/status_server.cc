#include "coordinator/http/status_server.h"

#include <httplib.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/status.h"
#include "coordinator/core/errors.h"
#include "coordinator/http/page.h"

namespace alpa::coordinator {
namespace {

using nlohmann::json;

constexpr size_t kTimelinePoints = 2000;

json Number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

json ToJson(const proto::Job& job) {
  json devices = json::array();
  for (int32_t device : job.devices()) devices.push_back(device);
  return {{"job_id", job.job_id()}, {"name", job.name()}, {"state", proto::Job::State_Name(job.state())},
          {"reason", job.reason()}, {"cause", proto::Job::Cause_Name(job.cause())}, {"error_reason", job.error_reason()},
          {"failed_worker", job.failed_worker()}, {"failed_op", job.failed_op()}, {"epoch", job.epoch()},
          {"created_unix_ms", job.created_unix_ms()}, {"changed_unix_ms", job.changed_unix_ms()},
          {"steps_done", job.steps_done()}, {"total_steps", job.total_steps()}, {"last_loss", Number(job.last_loss())},
          {"median_step_seconds", Number(job.median_step_seconds())}, {"devices", devices}, {"plan_text", job.plan_text()}};
}

json WorkersJson(const proto::ClusterReply& cluster) {
  json workers = json::array();
  for (const auto& worker : cluster.workers()) {
    json devices = json::array();
    for (const auto& device : worker.devices()) {
      devices.push_back({{"id", device.id()}, {"kind", device.kind()}, {"memory_bytes", device.memory_bytes()}, {"job", device.job_id()}});
    }
    workers.push_back({{"name", worker.name()}, {"up", worker.up()}, {"tensor_address", worker.tensor_address()},
                       {"heartbeat_age_seconds", Number(worker.heartbeat_age_seconds())}, {"devices", devices}});
  }
  return workers;
}

// The value of a step's first aux that is one float.
double LossOf(const JobRecord& record, const proto::StepResult& result) {
  for (const proto::ScalarAux& aux : result.scalars()) {
    const auto& outputs = record.planned->executable.outputs;
    if (aux.output() < 0 || aux.output() >= static_cast<int32_t>(outputs.size())) continue;
    const graph::Shape& shape = outputs[aux.output()].shape;
    if (shape.elements() != 1 || shape.dtype != graph::DType::kF32 || aux.data().size() != 4) continue;
    float value = 0;
    std::memcpy(&value, aux.data().data(), 4);
    return value;
  }
  return std::nan("");
}

json Timeline(const JobRecord& record) {
  json steps = json::array();
  const size_t stride = std::max<size_t>(1, (record.results.size() + kTimelinePoints - 1) / kTimelinePoints);
  for (size_t i = 0; i < record.results.size(); i += stride) {
    const proto::StepResult& result = record.results[i];
    steps.push_back({{"step", result.step()}, {"seconds", Number(result.seconds())}, {"loss", Number(LossOf(record, result))},
                     {"unix_ms", result.unix_ms()}});
  }
  return {{"steps", steps}};
}

class StatusServerImpl : public StatusServer {
 public:
  StatusServerImpl(Coordinator& coordinator, std::string version, std::vector<std::string> allowed)
      : coordinator_(coordinator), version_(std::move(version)), allowed_(std::move(allowed)) {}
  ~StatusServerImpl() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Start(const std::string& listen) {
    const size_t colon = listen.rfind(':');
    const std::string host = listen.substr(0, colon);
    const int port = colon == std::string::npos ? -1 : std::atoi(listen.c_str() + colon + 1);
    if (port < 0 || port > 65535) return InvalidArgument("--http is \"%s\"; expected host:port", listen);
    server_.new_task_queue = [] { return new httplib::ThreadPool(4); };
    server_.set_payload_max_length(1 << 16);
    server_.set_read_timeout(5);
    server_.set_write_timeout(5);
    server_.set_keep_alive_max_count(1000);
    // Two servers on one port would take turns.
    server_.set_socket_options([](socket_t fd) {
      const int one = 1;
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    });
    Routes();
    const int bound = port == 0 ? server_.bind_to_any_port(host) : (server_.bind_to_port(host, port) ? port : -1);
    if (bound <= 0) return absl::UnavailableError(absl::StrCat("cannot listen on ", listen, " for HTTP: the port is in use"));
    address_ = absl::StrCat(host, ":", bound);
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    return absl::OkStatus();
  }
  const std::string& address() const override { return address_; }

 private:
  bool HostAllowed(std::string host) const {
    if (const size_t colon = host.rfind(':'); colon != std::string::npos && host.find(']') < colon + 1) host.resize(colon);
    else if (host.find(']') == std::string::npos && colon != std::string::npos) host.resize(colon);
    if (host == "localhost" || host == "[::1]" || host.rfind("127.", 0) == 0) return true;
    return std::find(allowed_.begin(), allowed_.end(), host) != allowed_.end();
  }

  void Routes() {
    server_.set_default_headers({{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "
                                                             "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
                                 {"X-Content-Type-Options", "nosniff"},
                                 {"Referrer-Policy", "no-referrer"},
                                 {"Cache-Control", "no-store"}});
    server_.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      if (!HostAllowed(request.get_header_value("Host"))) {
        response.status = 403;
        response.set_content("this Host is not allowed; see --http-allow-host\n", "text/plain");
        return httplib::Server::HandlerResponse::Handled;
      }
      if (request.method != "GET" && request.method != "HEAD") {
        response.status = 405;
        response.set_content("only GET: changes go through gRPC\n", "text/plain");
        return httplib::Server::HandlerResponse::Handled;
      }
      return httplib::Server::HandlerResponse::Unhandled;
    });
    auto serve = [&](const char* path, const char* type, std::function<std::string()> body) {
      server_.Get(path, [type, body](const httplib::Request&, httplib::Response& response) { response.set_content(body(), type); });
    };
    serve("/", "text/html; charset=utf-8", [] { return kPageHtml; });
    serve("/app.css", "text/css", [] { return kPageCss; });
    serve("/app.js", "text/javascript", [] { return kPageScript; });
    serve("/livez", "text/plain", [] { return "ok\n"; });
    serve("/readyz", "text/plain", [] { return "ok\n"; });   // listening means replayed
    serve("/version", "application/json", [this] { return json{{"version", version_}}.dump() + "\n"; });
    serve("/metrics", "text/plain; version=0.0.4", [this] { return Metrics(coordinator_, version_); });
    serve("/api/v1/cluster", "application/json", [this] {
      const proto::ClusterReply cluster = coordinator_.With([](Core& core) { return core.Cluster(); });
      return json{{"cluster_epoch", cluster.cluster_epoch()}, {"version", cluster.version()}, {"workers", WorkersJson(cluster)}}.dump();
    });
    serve("/api/v1/workers", "application/json", [this] {
      return json{{"workers", WorkersJson(coordinator_.With([](Core& core) { return core.Cluster(); }))}}.dump();
    });
    serve("/api/v1/jobs", "application/json", [this] {
      json jobs = json::array();
      for (const proto::Job& job : coordinator_.With([](Core& core) { return core.ListJobs(); })) jobs.push_back(ToJson(job));
      return json{{"jobs", jobs}}.dump();
    });
    auto job = [this](const httplib::Request& request, httplib::Response& response, auto body) {
      const std::string id = request.matches[1];
      coordinator_.With([&](Core& core) {
        const auto found = core.jobs().find(id);
        if (found == core.jobs().end()) {
          response.status = 404;
          response.set_content(json{{"error", "there is no such job"}}.dump(), "application/json");
        } else {
          body(core, found->second);
        }
        return 0;
      });
    };
    server_.Get("/api/v1/jobs/([a-z0-9-]{1,63})", [job](const httplib::Request& request, httplib::Response& response) {
      job(request, response, [&](Core& core, const JobRecord& record) {
        response.set_content(ToJson(*core.GetJob(record.job.job_id())).dump(), "application/json");
      });
    });
    server_.Get("/api/v1/jobs/([a-z0-9-]{1,63})/plan", [job](const httplib::Request& request, httplib::Response& response) {
      job(request, response, [&](Core&, const JobRecord& record) { response.set_content(record.job.plan_text(), "text/plain; charset=utf-8"); });
    });
    server_.Get("/api/v1/jobs/([a-z0-9-]{1,63})/timeline", [job](const httplib::Request& request, httplib::Response& response) {
      job(request, response, [&](Core&, const JobRecord& record) { response.set_content(Timeline(record).dump(), "application/json"); });
    });
  }

  Coordinator& coordinator_;
  const std::string version_;
  const std::vector<std::string> allowed_;
  httplib::Server server_;
  std::string address_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StatusServer>> StartStatusServer(Coordinator& coordinator, const std::string& version,
                                                                const std::string& listen,
                                                                std::vector<std::string> allowed_hosts) {
  auto server = std::make_unique<StatusServerImpl>(coordinator, version, std::move(allowed_hosts));
  ALPA_RETURN_IF_ERROR(server->Start(listen));
  return server;
}

}  // namespace alpa::coordinator
