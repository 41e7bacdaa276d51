#include "coordinator/http/status_server.h"

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "base/status.h"
#include "coordinator/http/api.h"
#include "coordinator/http/metrics.h"
#include "coordinator/http/page.h"

namespace alpa::coordinator {
namespace {

constexpr char kJson[] = "application/json";
constexpr char kText[] = "text/plain; charset=utf-8";
constexpr int kThreads = 4;                   // number of threads that answer requests
constexpr int kTimeoutSeconds = 5;            // maximum time of one read or write of a connection
constexpr size_t kMaxRequestBytes = 1 << 16;  // maximum size of a request's body

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
    int port = -1;
    if (colon == std::string::npos || !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port < 0 || port > 65535) {
      return InvalidArgument("--http %s: expected HOST:PORT with a port from 0 to 65535", listen);
    }
    std::string host = listen.substr(0, colon);
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_payload_max_length(kMaxRequestBytes);
    server_.set_read_timeout(kTimeoutSeconds);
    server_.set_write_timeout(kTimeoutSeconds);
    server_.set_keep_alive_max_count(1000);
    // The default options of httplib would let two servers share one port.
    server_.set_socket_options([](socket_t fd) {
      const int one = 1;
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    });
    AddHeaders();
    AddRoutes();
    const std::string plain =
        absl::StartsWith(host, "[") && absl::EndsWith(host, "]") ? host.substr(1, host.size() - 2) : host;
    const int bound = port == 0 ? server_.bind_to_any_port(plain) : (server_.bind_to_port(plain, port) ? port : -1);
    if (bound <= 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", listen,
                       " for HTTP: the port is in use, or the address is not one of this "
                       "machine; choose another --http (port 0 takes any free port)"));
    }
    address_ = absl::StrCat(host, ":", bound);
    thread_ = std::thread([this] { ended_ = !server_.listen_after_bind(); });
    // stop() has no effect until the server runs, so wait until it runs.
    while (!server_.is_running() && !ended_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return absl::OkStatus();
  }
  const std::string& address() const override { return address_; }

 private:
  void AddHeaders() {
    server_.set_default_headers({{"Content-Security-Policy",
                                  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                                  "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
                                 {"X-Content-Type-Options", "nosniff"},
                                 {"Referrer-Policy", "no-referrer"},
                                 {"Cache-Control", "no-store"}});
    server_.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      if (!HostAllowed(request.get_header_value("Host"), allowed_)) {
        response.status = 403;
        response.set_content("this Host name is not allowed; see --http-allow-host\n", kText);
        return httplib::Server::HandlerResponse::Handled;
      }
      if (request.method != "GET" && request.method != "HEAD") {
        response.status = 405;
        response.set_header("Allow", "GET, HEAD");
        response.set_content("only GET and HEAD are allowed; make changes through gRPC\n", kText);
        return httplib::Server::HandlerResponse::Handled;
      }
      return httplib::Server::HandlerResponse::Unhandled;
    });
  }

  // Answers `path` with `body(core)`, called under the core's lock.
  void Serve(const char* path, const char* type, std::function<std::string(const Core&)> body) {
    server_.Get(path, [this, type, body = std::move(body)](const httplib::Request&, httplib::Response& response) {
      response.set_content(coordinator_.With([&](Core& core) { return body(core); }), type);
    });
  }
  void ServeJob(const std::string& part, std::optional<std::string> (*body)(const Core&, const std::string&)) {
    server_.Get("/api/v1/jobs/([a-z0-9-]{1,63})" + part,
                [this, body](const httplib::Request& request, httplib::Response& response) {
                  const std::string id = request.matches[1];
                  const auto found = coordinator_.With([&](Core& core) { return body(core, id); });
                  if (!found) response.status = 404;
                  response.set_content(found ? *found : "{\"error\":\"there is no job with this id\"}\n", kJson);
                });
  }

  void AddRoutes() {
    Serve("/", "text/html; charset=utf-8", [](const Core&) { return kPageHtml; });
    Serve("/app.css", "text/css; charset=utf-8", [](const Core&) { return kPageCss; });
    Serve("/app.js", "text/javascript; charset=utf-8", [](const Core&) { return kPageScript; });
    // Takes the core's lock, so that a coordinator that is stuck fails this check.
    Serve("/livez", kText, [](const Core&) { return "ok\n"; });
    server_.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      const bool draining = coordinator_.With([](Core& core) { return core.draining(); });
      if (draining) response.status = 503;
      response.set_content(draining ? "draining\n" : "ok\n", kText);
    });
    Serve("/version", kJson, [this](const Core&) { return absl::StrCat("{\"version\":\"", version_, "\"}\n"); });
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(Metrics(coordinator_, version_), "text/plain; version=0.0.4; charset=utf-8");
    });
    Serve("/api/v1/cluster", kJson, ClusterJson);
    Serve("/api/v1/workers", kJson, WorkersJson);
    Serve("/api/v1/jobs", kJson, JobsJson);
    ServeJob("", JobJson);
    ServeJob("/plan", PlanJson);
    ServeJob("/timeline", TimelineJson);
  }

  Coordinator& coordinator_;
  const std::string version_;
  const std::vector<std::string> allowed_;
  httplib::Server server_;
  std::string address_;
  std::atomic<bool> ended_{false};  // the server failed to start or to accept connections
  std::thread thread_;
};

}  // namespace

bool HostAllowed(const std::string& host, const std::vector<std::string>& allowed) {
  std::string name = absl::AsciiStrToLower(host);
  const size_t bracket = name.rfind(']');
  const size_t colon = name.rfind(':');
  if (colon != std::string::npos && (bracket == std::string::npos || bracket < colon)) name.resize(colon);
  if (name == "localhost" || name == "[::1]") return true;
  // The name may contain only digits and dots, so that 127.evil.example does not pass.
  const bool digits = std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isdigit(c) || c == '.'; });
  if (digits && absl::StartsWith(name, "127.")) return true;
  return std::find(allowed.begin(), allowed.end(), name) != allowed.end();
}

absl::StatusOr<std::unique_ptr<StatusServer>> StartStatusServer(Coordinator& coordinator, const std::string& version,
                                                                const std::string& listen,
                                                                std::vector<std::string> allowed_hosts) {
  for (std::string& host : allowed_hosts) host = absl::AsciiStrToLower(host);
  auto server = std::make_unique<StatusServerImpl>(coordinator, version, std::move(allowed_hosts));
  ALPA_RETURN_IF_ERROR(server->Start(listen));
  return server;
}

}  // namespace alpa::coordinator
