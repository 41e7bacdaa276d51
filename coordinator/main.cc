// alpa-coordinator: the daemon that accepts jobs, plans them, and supervises their steps.
#include <signal.h>
#include <unistd.h>
#if defined(ALPA_SYSTEMD)
#include <systemd/sd-daemon.h>
#endif

#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "cluster/toml/quantity.h"
#include "coordinator/http/status_server.h"
#include "coordinator/planner_process/planner_process.h"
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
  double search_seconds = 60;
  std::string planner;
  std::string planner_memory = "4 GiB";
};

Duration FromSeconds(double seconds) { return Duration(static_cast<int64_t>(seconds * 1e9)); }

void NotifySupervisor(const char* state) {
#if defined(ALPA_SYSTEMD)
  sd_notify(0, state);
#else
  (void)state;
#endif
}

constexpr Bytes kLeastPlannerMemory = 512 * kMiB;  // enough to plan a small program

// Returns the bytes of --planner-memory; 0: no limit.
absl::StatusOr<Bytes> PlannerMemory(const std::string& text) {
  if (text == "0") return 0;
  const auto bytes = cluster::ParseQuantity(text, cluster::Unit::kBytes);
  if (!bytes.ok() || *bytes < kLeastPlannerMemory || *bytes > 0x1p62) {
    return InvalidArgument("expected 0 for no limit, or a size of at least %s, such as \"4 GiB\"",
                           BytesText(kLeastPlannerMemory));
  }
  return static_cast<Bytes>(*bytes);
}

// Returns kExitConfig for errors that a restart cannot fix, so that a supervisor does not restart the daemon.
int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kDataLoss: return kExitConfig;
    case absl::StatusCode::kInternal: return kExitInternal;
    default: return kExitUnavailable;
  }
}

int Fail(int code, const absl::Status& status) {
  LogError("%s", std::string(status.message()));
  StopLog();
  return code;
}

absl::Status CheckDataDir(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return InvalidArgument("--data-dir %s cannot be created: %s", directory, error.message());
  if (access(directory.c_str(), R_OK | W_OK | X_OK) != 0) {
    return InvalidArgument("--data-dir %s cannot be read and written: %s", directory, std::strerror(errno));
  }
  return absl::OkStatus();
}

Limits LimitsOf(const CoordinatorFlags& flags) {
  Limits limits;
  limits.lease = FromSeconds(flags.lease_seconds);
  limits.heartbeat = FromSeconds(flags.heartbeat_seconds);
  limits.watchdog_floor = FromSeconds(flags.watchdog_seconds);
  limits.idle_timeout = FromSeconds(flags.idle_timeout_seconds);
  limits.search_time = FromSeconds(flags.search_seconds);
  return limits;
}

// Waits for a signal and then drains. Returns when no steps are in flight, after `drain_seconds`, or at the next
// signal, whichever comes first.
void ServeUntilDrained(Coordinator& coordinator, RpcServer& rpc, const sigset_t& signals, double drain_seconds) {
  int signal_number = 0;
  sigwait(&signals, &signal_number);
  LogInfo("received %s: draining; steps in flight have %.0f s to finish",
          signal_number == SIGTERM ? "SIGTERM" : "SIGINT", drain_seconds);
  NotifySupervisor("STOPPING=1");
  rpc.SetServing(false);
  coordinator.With([](Core& core) { core.BeginDrain(); });
  const MonotonicTime deadline = Clock::Real().Now() + FromSeconds(drain_seconds);
  const timespec pause{0, 20'000'000};
  while (coordinator.With([](Core& core) { return core.StepsInFlight(); }) && Clock::Real().Now() < deadline) {
    if (sigtimedwait(&signals, nullptr, &pause) > 0) break;
  }
}

int Run(const CoordinatorFlags& flags) {
  // Only this thread waits for signals. It blocks the signals before it starts other threads, which inherit its signal
  // mask.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  if (absl::Status status = CheckDataDir(flags.common.data_dir); !status.ok()) return Fail(kExitConfig, status);
  auto store = OpenSqliteStore(flags.common.data_dir + "/jobs.sqlite");
  if (!store.ok()) return Fail(ExitCode(store.status()), store.status());
  auto programs = ProgramStore::Open(flags.common.data_dir + "/programs");
  if (!programs.ok()) return Fail(ExitCode(programs.status()), programs.status());
  const std::string version(Version());
  const auto planner = FindPlannerProgram(flags.planner);
  if (!planner.ok()) return Fail(ExitCode(planner.status()), planner.status());
  const auto planner_memory = PlannerMemory(flags.planner_memory);
  if (!planner_memory.ok()) return Fail(kExitConfig, planner_memory.status());
  Coordinator coordinator(LimitsOf(flags), version, *std::move(store), *std::move(programs),
                          MakePlannerProcess({*planner, *planner_memory, version}));
  if (absl::Status status = coordinator.Start(); !status.ok()) return Fail(ExitCode(status), status);
  auto rpc = StartRpcServer(coordinator, flags.common.listen);
  if (!rpc.ok()) return Fail(ExitCode(rpc.status()), rpc.status());
  auto http = StartStatusServer(coordinator, version, flags.http, flags.http_allow_host);
  absl::Status started = http.status();
  if (started.ok()) started = WritePortFile(flags.common.port_file, (*rpc)->address(), (*http)->address());
  if (!started.ok()) {
    coordinator.Shutdown();
    (*rpc)->Stop(Duration(0));
    return Fail(ExitCode(started), started);
  }
  LogInfo("version %s, gRPC on %s, status page on http://%s/", version, (*rpc)->address(), (*http)->address());
  NotifySupervisor("READY=1");

  ServeUntilDrained(coordinator, **rpc, signals, flags.common.drain_timeout_seconds);
  coordinator.With([](Core& core) { core.StopRunning("the coordinator was shut down"); });
  coordinator.FlushSessions(std::chrono::seconds(1));
  coordinator.Shutdown();
  (*rpc)->Stop(std::chrono::seconds(3));  // returns as soon as the last stream has ended
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
  Flags parser(
      "alpa-coordinator", "Plans jobs, hands them to workers, and supervises their steps.",
      {{"alpa-coordinator --data-dir /var/lib/alpa", "serve on 127.0.0.1:7400, status page on 127.0.0.1:7480"},
       {"alpa-coordinator --listen 10.0.0.1:7400 --insecure",
        "accept connections from other machines, without authentication"}});
  flags.common.Declare(parser);
  parser.Add("http", &flags.http, "HOST:PORT", "address of the status page and metrics");
  parser.Add("http-allow-host", &flags.http_allow_host, "NAME", "another Host name that the status page answers to");
  parser.Add("lease", &flags.lease_seconds, "SECONDS", "a worker that is silent for longer than this is lost",
             BetweenReal(0.1, 3600));
  parser.Add("heartbeat", &flags.heartbeat_seconds, "SECONDS", "time between two heartbeats of a worker",
             BetweenReal(0.02, 60));
  parser.Add("watchdog", &flags.watchdog_seconds, "SECONDS",
             "a step is stuck after this time, or after 10 x the median step time if that is longer",
             BetweenReal(0.1, 86400));
  parser.Add("idle-timeout", &flags.idle_timeout_seconds, "SECONDS",
             "stop a running job after this time without steps and without clients", BetweenReal(1, 1e9));
  parser.Add("search-seconds", &flags.search_seconds, "SECONDS",
             "time limit of the plan search, which then takes the best plan so far", BetweenReal(0, 500));
  parser.Add("planner", &flags.planner, "PATH",
             "the program that plans jobs; without this flag, alpa-planner in the folder of this program");
  parser.Add("planner-memory", &flags.planner_memory, "SIZE",
             "memory limit of planning one job; two jobs are planned at the same time; 0: no limit",
             [](const std::string& text) { return coordinator::PlannerMemory(text).status(); });
  parser.ParseOrExit(argc, argv);
  if (absl::Status status = flags.common.Apply("coordinator"); !status.ok())
    return coordinator::Fail(kExitConfig, status);
  if (absl::Status status = flags.common.CheckListen("http", flags.http); !status.ok()) {
    return coordinator::Fail(kExitConfig, status);
  }
  try {
    return coordinator::Run(flags);
  } catch (const std::exception& e) {
    return coordinator::Fail(kExitInternal,
                             absl::InternalError(absl::StrCat("unexpected exception, please report it: ", e.what())));
  }
}
