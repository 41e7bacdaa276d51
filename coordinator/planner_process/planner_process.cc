#include "coordinator/planner_process/planner_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/core/errors.h"
#include "coordinator/core/text.h"
#include "coordinator/planner_process/child.h"
#include "coordinator/planner_process/wire.h"

extern char** environ;

namespace alpa::coordinator {
namespace {

constexpr Duration kExitTime = std::chrono::seconds(2);  // maximum time from the socket's end to the process's end
constexpr size_t kReadBytes = 256 << 10;                 // maximum size of one read
constexpr size_t kMaxProgressBytes = 1000;               // maximum size of a progress text; longer text is cut

absl::Status InternalFault(const std::string& message) {
  return WithReason(absl::InternalError(message), reason::kInternal);
}

// A file descriptor. The destructor closes the descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// The exit status and the peak memory of a process that has ended.
struct End {
  int wait_status = 0;
  Bytes peak = 0;  // peak of the resident memory
};

// A started process. The destructor kills it and waits for its end.
class Process {
 public:
  explicit Process(pid_t pid) : pid_(pid) {}
  ~Process() { Kill(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool HasEnded() const {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
  }
  // Waits until the process ends or `limit` has passed. Then kills all processes that are left in its process group.
  End WaitFor(Duration limit) {
    const MonotonicTime until = Clock::Real().Now() + limit;
    while (!HasEnded() && Clock::Real().Now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return Kill();
  }

 private:
  // Kills the process group before wait4, because after wait4 the kernel may give the group's number to other
  // processes.
  End Kill() {
    if (pid_ < 0) return {};
    End end;
    rusage usage{};
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);  // the process may have left its group
    while (wait4(pid_, &end.wait_status, 0, &usage) < 0 && errno == EINTR) {
    }
    end.peak = static_cast<Bytes>(usage.ru_maxrss) * kKiB;
    pid_ = -1;
    return end;
  }

  pid_t pid_;
};

// Starts the planner program with `socket` as its kPlannerSocket. The program's standard output goes to stderr, so
// that the text that libraries print appears in the coordinator's log.
absl::StatusOr<pid_t> Spawn(const PlannerProcessOptions& options, int socket) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, socket, kPlannerSocket);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, kPlannerSocket + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // The coordinator blocks SIGTERM and SIGINT and ignores SIGPIPE. The planner must not inherit these settings. In a
  // separate process group, the planner gets no Ctrl-C from the terminal: the coordinator decides when the planner
  // ends.
  sigset_t none, reset;
  sigemptyset(&none);
  sigemptyset(&reset);
  sigaddset(&reset, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &reset);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  std::string path = options.path, memory = absl::StrCat("--memory=", options.memory),
              parent = absl::StrCat("--parent=", getpid());
  char* const argv[] = {path.data(), memory.data(), parent.data(), nullptr};
  pid_t pid = -1;
  const int error = posix_spawn(&pid, path.c_str(), &files, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    return InternalFault(
        absl::StrCat("the planner process ", options.path, " cannot be started: ", std::strerror(error)));
  }
  return pid;
}

// Returns an error that explains why a process ended without an answer.
absl::Status DeathOf(const End& end, Bytes memory) {
  const bool limited = memory > 0;
  if (WIFEXITED(end.wait_status) && WEXITSTATUS(end.wait_status) == kExitMemoryExhausted) {
    return WithReason(
        absl::ResourceExhaustedError(
            limited ? absl::StrCat("planning needs more memory than the limit of ", BytesText(memory),
                                   "; raise --planner-memory of the coordinator, or pin more of the plan")
                    : "planning needs more memory than the coordinator's machine has; pin more of the plan"),
        reason::kNoFeasiblePlan);
  }
  if (WIFEXITED(end.wait_status)) {
    return InternalFault(absl::StrCat("the planner process ended with exit code ", WEXITSTATUS(end.wait_status),
                                      " and without an answer; the coordinator's log may say why"));
  }
  const int signal_number = WTERMSIG(end.wait_status);
  if (signal_number == SIGKILL) {
    return InternalFault(absl::StrCat(
        "the planner process was killed (signal 9) while it planned the program; it used ", BytesText(end.peak),
        " of memory. If the machine ran out of memory, lower --planner-memory of the coordinator or pin more of the "
        "plan"));
  }
  const char* description = sigdescr_np(signal_number);
  std::string message =
      absl::StrCat("the planner crashed (signal ", signal_number, ", ",
                   description != nullptr ? description : "unknown", ") while it planned the program");
  // C libraries often crash if an allocation fails. The limit applies to address space, but the peak counts only
  // resident memory. A peak of at least three quarters of the limit therefore counts as near the limit.
  if (limited && end.peak >= memory / 4 * 3) {
    absl::StrAppend(&message, "; it used ", BytesText(end.peak), " of memory, near the limit of ", BytesText(memory),
                    ": raise --planner-memory of the coordinator, or pin more of the plan");
  } else {
    absl::StrAppend(&message, "; this is a bug in alpa: please report it with the program");
  }
  return InternalFault(message);
}

// The conversation with one planner process.
class Conversation {
 public:
  Conversation(int socket, const PlanningProgress& progress) : socket_(socket), progress_(progress) {}

  // Queues a frame to send. `payload` must outlive this object.
  void Queue(FrameKind kind, absl::string_view payload) {
    headers_.push_back(std::make_unique<std::string>(FrameHeader(kind, payload.size())));
    unsent_.push_back(*headers_.back());
    unsent_.push_back(payload);
  }

  // Sends and receives until the answer has arrived. Returns nothing if the process ends without an answer. Returns
  // kCancelled if the answer is no longer wanted, and kInvalidArgument if the process breaks the rules of wire.h.
  absl::StatusOr<std::optional<PlanningResult>> Run(const Process& process) {
    MonotonicTime next_poll = Clock::Real().Now() + kPoll;
    bool process_ended = false, open = true;
    while (open) {
      const MonotonicTime now = Clock::Real().Now();
      if (now >= next_poll) {
        ALPA_RETURN_IF_ERROR(Tell(""));
        process_ended = process.HasEnded();
        next_poll = now + kPoll;
      }
      pollfd events{socket_, static_cast<short>(POLLIN | (unsent_.empty() ? 0 : POLLOUT)), 0};
      const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(next_poll - now).count() + 1;
      const int ready = poll(&events, 1, process_ended ? 0 : static_cast<int>(wait));
      // After the planner has ended, a process that the planner started may still hold the socket open.
      if (ready == 0 && process_ended) break;
      if (ready <= 0) continue;
      if ((events.revents & POLLOUT) != 0) Send();
      if ((events.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
      ALPA_ASSIGN_OR_RETURN(open, Receive());
      if (result_.has_value()) return std::move(result_);
    }
    return std::nullopt;
  }

 private:
  absl::Status Tell(const std::string& text) {
    return progress_ && !progress_(text) ? absl::CancelledError("the plan is no longer wanted") : absl::OkStatus();
  }

  void Send() {
    while (!unsent_.empty()) {
      absl::string_view& next = unsent_.front();
      const ssize_t sent = next.empty() ? 0 : send(socket_, next.data(), next.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
      // The process no longer reads, but it may have sent an answer before.
      if (sent < 0) return unsent_.clear();
      next.remove_prefix(static_cast<size_t>(sent));
      if (next.empty()) unsent_.erase(unsent_.begin());
    }
  }

  // Returns whether more bytes can arrive.
  absl::StatusOr<bool> Receive() {
    const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return true;
    if (got <= 0) return false;
    std::vector<Frame> frames;
    ALPA_RETURN_IF_ERROR(reader_.Feed({buffer_.data(), static_cast<size_t>(got)}, &frames));
    for (Frame& frame : frames) ALPA_RETURN_IF_ERROR(Take(std::move(frame)));
    return true;
  }

  absl::Status Take(Frame frame) {
    if (result_.has_value()) return absl::InvalidArgumentError("a frame follows the answer");
    switch (frame.kind) {
      case FrameKind::kProgress:
        return frame.payload.empty() ? absl::OkStatus() : Tell(CleanText(frame.payload, kMaxProgressBytes));
      case FrameKind::kExecutable:
        if (executable_.has_value()) return absl::InvalidArgumentError("a second executable arrived");
        executable_ = std::move(frame.payload);
        return absl::OkStatus();
      case FrameKind::kAnswer: {
        ALPA_ASSIGN_OR_RETURN(result_, AnswerFromWire(frame.payload));
        if (executable_.has_value()) result_->planned.serialized_executable = *std::move(executable_);
        return absl::OkStatus();
      }
      default: return absl::InvalidArgumentError("a task or a program arrived");
    }
  }

  const int socket_;
  const PlanningProgress& progress_;
  std::vector<std::unique_ptr<std::string>> headers_;
  std::vector<absl::string_view> unsent_;
  std::vector<char> buffer_ = std::vector<char>(kReadBytes);
  FrameReader reader_;
  std::optional<std::string> executable_;
  std::optional<PlanningResult> result_;
};

absl::StatusOr<PlanningResult> RunTask(const PlannerProcessOptions& options, const PlanTask& task,
                                       absl::string_view program, const PlanningProgress& progress) {
  const std::string task_bytes = TaskToWire(task, options.version);
  for (const auto& [kind, size] :
       {std::pair(FrameKind::kTask, task_bytes.size()), std::pair(FrameKind::kProgram, program.size())}) {
    if (size > MaxPayload(kind)) {
      return WithReason(absl::ResourceExhaustedError(absl::StrCat("the program and its plan request are too large: ",
                                                                  BytesText(static_cast<Bytes>(size)))),
                        reason::kNoFeasiblePlan);
    }
  }
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return InternalFault(absl::StrCat("the planner process cannot be started: ", std::strerror(errno)));
  }
  Descriptor ours(sockets[0]), theirs(sockets[1]);
  ALPA_ASSIGN_OR_RETURN(const pid_t pid, Spawn(options, theirs.get()));
  Process process(pid);
  theirs.Close();
  Conversation conversation(ours.get(), progress);
  conversation.Queue(FrameKind::kTask, task_bytes);
  conversation.Queue(FrameKind::kProgram, program);
  absl::StatusOr<std::optional<PlanningResult>> result = conversation.Run(process);
  if (absl::IsCancelled(result.status())) return result.status();
  if (!result.ok()) {
    return InternalFault(
        absl::StrCat("the planner process sent bytes that are not an answer: ", result.status().message()));
  }
  if (!result->has_value()) return DeathOf(process.WaitFor(kExitTime), options.memory);
  return **std::move(result);
}

// Calls RunTask. Returns an error if the answer does not fit into the coordinator's memory, so that such an answer does
// not end the coordinator.
absl::StatusOr<PlanningResult> RunGuarded(const PlannerProcessOptions& options, const PlanTask& task,
                                          absl::string_view program, const PlanningProgress& progress) {
  try {
    return RunTask(options, task, program, progress);
  } catch (const std::bad_alloc&) {
    return WithReason(absl::ResourceExhaustedError("the plan needs more memory than the coordinator has"),
                      reason::kNoFeasiblePlan);
  }
}

}  // namespace

Planner MakePlannerProcess(const PlannerProcessOptions& options) {
  Planner planner;
  planner.plan = [options](const PlanTask& task, absl::string_view program,
                           const PlanningProgress& progress) -> absl::StatusOr<Planned> {
    ALPA_ASSIGN_OR_RETURN(PlanningResult result, RunGuarded(options, task, program, progress));
    ALPA_RETURN_IF_ERROR(result.status);
    if (result.planned.serialized_executable.empty()) {
      return InternalFault("the planner process sent no executable");
    }
    return std::move(result.planned);
  };
  planner.check = [options](const PlanTask& task, absl::string_view program,
                            const PlanningProgress& progress) -> absl::Status {
    ALPA_ASSIGN_OR_RETURN(const PlanningResult result, RunGuarded(options, task, program, progress));
    return result.status;
  };
  return planner;
}

absl::StatusOr<std::string> FindPlannerProgram(const std::string& given) {
  std::string path = given;
  std::error_code error;
  if (path.empty()) {
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) return FailedPrecondition("the folder of this program is unknown; name alpa-planner with --planner");
    path = (self.parent_path() / "alpa-planner").string();
  }
  if (!std::filesystem::is_regular_file(path, error) || access(path.c_str(), X_OK) != 0) {
    return FailedPrecondition(
        "%s is not a program that can be run; build or install alpa-planner next to alpa-coordinator, or name it with "
        "--planner",
        path);
  }
  return path;
}

}  // namespace alpa::coordinator
