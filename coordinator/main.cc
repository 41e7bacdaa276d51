// alpa-coordinator: keeps the cluster's jobs, plans them, and watches over their steps.
#include <signal.h>
#if defined(ALPA_SYSTEMD)
#include <systemd/sd-daemon.h>
#endif

#include <cstdio>
#include <filesystem>
#include <thread>

#include "base/config.h"
#include "base/log.h"
#include "base/status.h"
#include "coordinator/http/status_server.h"
#include "coordinator/rpc/coordinator.h"
#include "coordinator/rpc/services.h"

namespace alpa::coordinator {
namespace {

struct CoordinatorFlags {
  CommonFlags common;
  std::string http = "127.0.0.1:7480";
  std::vector<std::string> http_allow_host;
  double lease_seconds = 10;
  double heartbeat_seconds = 1;
  double watchdog_seconds = 30;
  double idle_timeout_seconds = 3600;
};

Duration FromSeconds(double seconds) { return Duration(static_cast<int64_t>(seconds * 1e9)); }

void NotifySupervisor(const char* state) {
#if defined(ALPA_SYSTEMD)
  sd_notify(0, state);
#else
  (void)state;
#endif
}

int Fail(int code, const absl::Status& status) {
  LogError("%s", std::string(status.message()));
  StopLog();
  return code;
}

int Run(const CoordinatorFlags& flags) {
  std::error_code error;
  std::filesystem::create_directories(flags.common.data_dir, error);
  if (error) {
    return Fail(kExitConfig, absl::InvalidArgumentError(absl::StrCat("--data-dir ", flags.common.data_dir, ": ", error.message())));
  }
  auto store = OpenSqliteStore(flags.common.data_dir + "/jobs.sqlite");
  if (!store.ok()) return Fail(kExitUnavailable, store.status());
  auto programs = ProgramStore::Open(flags.common.data_dir + "/programs");
  if (!programs.ok()) return Fail(kExitUnavailable, programs.status());
  Limits limits;
  limits.lease = FromSeconds(flags.lease_seconds);
  limits.heartbeat = FromSeconds(flags.heartbeat_seconds);
  limits.watchdog_floor = FromSeconds(flags.watchdog_seconds);
  limits.idle_timeout = FromSeconds(flags.idle_timeout_seconds);
  const std::string version(Version());
  Coordinator coordinator(limits, version, *std::move(store), *std::move(programs));

  // Signals are taken by this thread alone.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  if (absl::Status status = coordinator.Start(); !status.ok()) return Fail(kExitUnavailable, status);
  auto rpc = StartRpcServer(coordinator, flags.common.listen);
  if (!rpc.ok()) return Fail(kExitUnavailable, rpc.status());
  auto http = StartStatusServer(coordinator, version, flags.http, flags.http_allow_host);
  if (!http.ok()) {
    (*rpc)->Stop(Duration(0));
    return Fail(http.status().code() == absl::StatusCode::kInvalidArgument ? kExitConfig : kExitUnavailable, http.status());
  }
  if (absl::Status status = WritePortFile(flags.common.port_file, (*rpc)->address(), (*http)->address()); !status.ok()) {
    return Fail(kExitConfig, status);
  }
  LogInfo("version %s, gRPC on %s, status on http://%s/", version, (*rpc)->address(), (*http)->address());
  NotifySupervisor("READY=1");

  int signal_number = 0;
  sigwait(&signals, &signal_number);
  LogInfo("draining: steps in flight get %.0f s", flags.common.drain_timeout_seconds);
  NotifySupervisor("STOPPING=1");
  coordinator.With([](Core& core) {
    core.BeginDrain();
    return 0;
  });
  const MonotonicTime deadline = Clock::Real().Now() + FromSeconds(flags.common.drain_timeout_seconds);
  while (coordinator.With([](Core& core) { return core.StepsInFlight(); }) && Clock::Real().Now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  coordinator.With([](Core& core) {
    core.ReleaseAll("the coordinator was shut down");
    return 0;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));   // the streams' queues empty themselves
  coordinator.Shutdown();
  (*rpc)->Stop(std::chrono::seconds(1));
  LogInfo("drained");
  StopLog();
  return kExitOk;
}

}  // namespace
}  // namespace alpa::coordinator

int main(int argc, char** argv) {
  using namespace alpa;
  coordinator::CoordinatorFlags flags;
  flags.common.listen = "127.0.0.1:7400";
  flags.common.data_dir = "alpa-data";
  Flags parser("alpa-coordinator", "Plans jobs, hands them to workers, and watches over them.",
               {{"alpa-coordinator --data-dir /var/lib/alpa", "serve on 127.0.0.1:7400, status page on 127.0.0.1:7480"},
                {"alpa-coordinator --listen 10.0.0.1:7400 --insecure", "be reachable from other machines, unprotected"}});
  flags.common.Declare(parser);
  parser.Add("http", &flags.http, "HOST:PORT", "address of the status page and metrics");
  parser.Add("http-allow-host", &flags.http_allow_host, "NAME", "further Host names that the status page answers to");
  parser.Add("lease", &flags.lease_seconds, "SECONDS", "a worker that is silent for so long is lost", BetweenReal(0.1, 3600));
  parser.Add("heartbeat", &flags.heartbeat_seconds, "SECONDS", "how often workers report", BetweenReal(0.02, 60));
  parser.Add("watchdog", &flags.watchdog_seconds, "SECONDS", "least time after which a step counts as stuck", BetweenReal(0.1, 86400));
  parser.Add("idle-timeout", &flags.idle_timeout_seconds, "SECONDS", "a job without steps for so long is stopped", BetweenReal(1, 1e9));
  parser.ParseOrExit(argc, argv);
  if (absl::Status status = flags.common.Apply("coordinator"); !status.ok()) return coordinator::Fail(kExitConfig, status);
  if (absl::Status status = flags.common.CheckListen("http", flags.http); !status.ok()) {
    return coordinator::Fail(kExitConfig, status);
  }
  return coordinator::Run(flags);
}
