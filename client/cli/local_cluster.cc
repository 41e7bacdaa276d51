#include "client/cli/local_cluster.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/lib/coordinator.h"
#include "client/lib/outcome.h"

extern char** environ;

namespace alpa::client {
namespace {

namespace fs = std::filesystem;

// Time limit for one daemon to listen, and time limit for all workers to register.
constexpr Duration kStartTime = std::chrono::seconds(30);
constexpr Duration kStopTime = std::chrono::seconds(10);   // time from SIGTERM to SIGKILL
constexpr Duration kPoll = std::chrono::milliseconds(20);  // time between two checks of a process or a file

void Sleep(Duration d) { std::this_thread::sleep_for(d); }

std::string DescribeEnd(int wait_status) {
  if (WIFSIGNALED(wait_status)) return absl::StrCat("was killed by signal ", WTERMSIG(wait_status));
  return absl::StrCat("ended with exit code ", WEXITSTATUS(wait_status));
}

// Runs in the child process, between fork and exec. Makes only async-signal-safe calls, because another thread of the
// parent may hold any lock at the time of the fork.
[[noreturn]] void BecomeDaemon(int parent, int log, char* const* argv, char* const* environment) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);  // the parent ended before the call of prctl
  setpgid(0, 0);                        // Ctrl-C must reach only the parent, which stops the daemons
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, 0);
  dup2(log, 1);
  dup2(log, 2);
  execve(argv[0], argv, environment);
  _exit(127);
}

}  // namespace

absl::StatusOr<std::string> FindDaemon(const std::string& name) {
  std::vector<std::string> folders;
  if (const char* bin = std::getenv("ALPA_BIN"); bin != nullptr && *bin != 0) folders.push_back(bin);
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(self.parent_path().string());
  if (const char* path = std::getenv("PATH"); path != nullptr) {
    for (absl::string_view folder : absl::StrSplit(path, ':', absl::SkipEmpty())) folders.emplace_back(folder);
  }
  for (const std::string& folder : folders) {
    const std::string candidate = (fs::path(folder) / name).string();
    if (access(candidate.c_str(), X_OK) == 0 && fs::is_regular_file(candidate, error)) return candidate;
  }
  return WithReason(
      absl::UnavailableError(absl::StrCat(
          name, " is not in ALPA_BIN, the folder of this program, or PATH; build it, or set ALPA_BIN to its folder")),
      kReasonNoDaemon);
}

absl::StatusOr<std::unique_ptr<LocalCluster>> LocalCluster::Start(const LocalClusterOptions& options) {
  ALPA_ASSIGN_OR_RETURN(const std::string coordinator, FindDaemon("alpa-coordinator"));
  ALPA_ASSIGN_OR_RETURN(const std::string worker, FindDaemon("alpa-worker"));
  std::unique_ptr<LocalCluster> out(new LocalCluster);
  std::error_code error;
  std::string folder = (fs::temp_directory_path(error) / "alpa-run-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr)
    return FailedPrecondition("creating the folder %s: %s", folder, std::strerror(errno));
  out->folder_ = folder;
  ALPA_RETURN_IF_ERROR(out->StartChild(
      "coordinator", coordinator, {"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", folder + "/data"},
      &out->address_, &out->http_address_));
  for (int64_t i = 0; i < options.workers; ++i) {
    const std::string name = absl::StrCat("worker-", i);
    std::string tensors, unused;
    ALPA_RETURN_IF_ERROR(out->StartChild(
        name, worker,
        {"--coordinator", out->address_, "--name", name, "--devices", absl::StrCat(options.devices_per_worker),
         "--threads", absl::StrCat(options.threads_per_device), "--listen", "127.0.0.1:0", "--data-dir",
         folder + "/" + name},
        &tensors, &unused));
  }
  ALPA_RETURN_IF_ERROR(out->WaitForWorkers(options.workers));
  return out;
}

absl::Status LocalCluster::StartChild(const std::string& name, const std::string& program,
                                      std::vector<std::string> arguments, std::string* grpc, std::string* http) {
  const std::string port_file = folder_ + "/" + name + ".ports", log_file = folder_ + "/" + name + ".log";
  arguments.insert(arguments.begin(), program);
  arguments.push_back("--port-file");
  arguments.push_back(port_file);
  std::vector<char*> argv, environment;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  // The daemons must not inherit this program's settings, which are in environment variables named ALPA_*.
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!absl::StartsWith(*entry, "ALPA_")) environment.push_back(*entry);
  }
  environment.push_back(nullptr);
  const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) return FailedPrecondition("creating %s: %s", log_file, std::strerror(errno));
  const int parent = getpid();
  const int pid = fork();
  if (pid == 0) BecomeDaemon(parent, log, argv.data(), environment.data());
  close(log);
  if (pid < 0) return FailedPrecondition("starting %s: %s", program, std::strerror(errno));
  children_.push_back({name, pid});

  const MonotonicTime deadline = Clock::Real().Now() + kStartTime;
  while (!fs::exists(port_file)) {
    ALPA_RETURN_IF_ERROR(Check());
    if (Clock::Real().Now() > deadline) {
      return absl::UnavailableError(absl::StrCat(name, " did not listen within 30 s", LogTail(name)));
    }
    Sleep(kPoll);
  }
  std::ifstream file(port_file);
  const nlohmann::json ports = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!ports.is_object() || !ports.contains("grpc") || !ports["grpc"].is_string()) {
    return Internal("the port file %s has no gRPC address", port_file);
  }
  *grpc = ports["grpc"].get<std::string>();
  if (ports.contains("http") && ports["http"].is_string()) *http = ports["http"].get<std::string>();
  return absl::OkStatus();
}

absl::Status LocalCluster::WaitForWorkers(int64_t count) {
  Coordinator coordinator(address_, nullptr);
  const MonotonicTime deadline = Clock::Real().Now() + kStartTime;
  for (;;) {
    ALPA_RETURN_IF_ERROR(Check());
    absl::StatusOr<proto::ClusterReply> cluster = coordinator.GetCluster();
    int64_t up = 0;
    if (cluster.ok()) {
      for (const proto::WorkerState& worker : cluster->workers()) up += worker.up();
      if (up >= count) return absl::OkStatus();
    }
    if (Clock::Real().Now() > deadline) {
      return absl::UnavailableError(
          absl::StrFormat("%d of %d workers registered within 30 s%s", up, count, LogTail("worker-0")));
    }
    Sleep(kPoll);
  }
}

absl::Status LocalCluster::Check() {
  for (Child& child : children_) {
    if (!child.ended && waitpid(child.pid, &child.wait_status, WNOHANG) == child.pid) child.ended = true;
    if (child.ended) {
      return absl::UnavailableError(absl::StrCat(child.name, " ", DescribeEnd(child.wait_status), LogTail(child.name)));
    }
  }
  return absl::OkStatus();
}

std::string LocalCluster::LogTail(const std::string& name) const {
  constexpr size_t kLines = 8;  // maximum number of log lines in an error message
  std::ifstream file(folder_ + "/" + name + ".log");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  std::string out;
  for (size_t i = lines.size() > kLines ? lines.size() - kLines : 0; i < lines.size(); ++i) {
    absl::StrAppend(&out, "\n  ", name, ": ", lines[i]);
  }
  return out;
}

LocalCluster::~LocalCluster() {
  // Stops the workers first, while the coordinator still runs and can remove them from the cluster.
  for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
    if (!child->ended) kill(child->pid, SIGTERM);
  }
  const MonotonicTime deadline = Clock::Real().Now() + kStopTime;
  for (Child& child : children_) {
    while (!child.ended && waitpid(child.pid, &child.wait_status, WNOHANG) == 0) {
      if (Clock::Real().Now() > deadline) kill(child.pid, SIGKILL);
      Sleep(kPoll);
    }
  }
  std::error_code error;
  if (!folder_.empty()) fs::remove_all(folder_, error);
}

}  // namespace alpa::client
