#include "coordinator/planner_process/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/reason.h"
#include "base/status.h"
#include "coordinator/planner_process/wire.h"

namespace alpa::coordinator {
namespace {

// Sanitizers reserve terabytes of address space, so no limit works with them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kLimitMemory = false;
#else
constexpr bool kLimitMemory = true;
#endif

// Called if `operator new` finds no memory. Ends the process instead of throwing std::bad_alloc, because only
// the main thread catches exceptions, and because a process without memory may be unable to answer.
[[noreturn]] void OnMemoryExhausted() { _exit(kExitMemoryExhausted); }

absl::Status Limit(int resource, rlim_t value) {
  const rlimit limit{value, value};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0) return absl::OkStatus();
  return FailedPrecondition("setrlimit: %s", std::strerror(errno));
}

// Makes the kernel kill this process before any other if the machine runs out of memory.
void VolunteerForOomKiller() {
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  // On an error, only the memory limit protects the machine.
  if (file < 0) return;
  [[maybe_unused]] const ssize_t written = write(file, "1000", 4);
  close(file);
}

// Returns false if the coordinator is gone.
bool WriteAll(int socket, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool WriteFrame(int socket, FrameKind kind, absl::string_view payload) {
  return WriteAll(socket, FrameHeader(kind, payload.size())) && WriteAll(socket, payload);
}

// Reads the task frame and the program frame.
absl::StatusOr<std::vector<Frame>> ReadTask(int socket) {
  FrameReader reader;
  std::vector<Frame> frames;
  std::vector<char> buffer(256 << 10);
  while (frames.size() < 2) {
    const ssize_t got = recv(socket, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return FailedPrecondition("the connection to the coordinator ended");
    ALPA_RETURN_IF_ERROR(reader.Feed({buffer.data(), static_cast<size_t>(got)}, &frames));
  }
  if (frames[0].kind != FrameKind::kTask || frames[1].kind != FrameKind::kProgram) {
    return absl::InvalidArgumentError("a task and a program were expected");
  }
  return frames;
}

PlanningResult Plan(const PlanTask& task, absl::string_view program, const Planner& planner, int socket) {
  const PlanningProgress progress = [socket](const std::string& text) {
    const size_t size = std::min<size_t>(text.size(), MaxPayload(FrameKind::kProgress));
    return text.empty() || WriteFrame(socket, FrameKind::kProgress, absl::string_view(text).substr(0, size));
  };
  if (task.devices.empty()) return {planner.check(task, program, progress), {}};
  absl::StatusOr<Planned> planned = planner.plan(task, program, progress);
  if (!planned.ok()) return {planned.status(), {}};
  return {absl::OkStatus(), *std::move(planned)};
}

}  // namespace

absl::StatusOr<ChildArguments> ParseArguments(int argc, const char* const* argv) {
  ChildArguments arguments;
  for (int i = 1; i < argc; ++i) {
    absl::string_view text = argv[i];
    const bool valid = absl::ConsumePrefix(&text, "--memory=")   ? absl::SimpleAtoi(text, &arguments.memory)
                       : absl::ConsumePrefix(&text, "--parent=") ? absl::SimpleAtoi(text, &arguments.parent)
                                                                 : false;
    if (!valid || arguments.memory < 0) return InvalidArgument("the argument %s is not valid", argv[i]);
  }
  if (arguments.parent <= 0) return absl::InvalidArgumentError("--parent is missing");
  return arguments;
}

absl::Status BecomePlanner(const ChildArguments& arguments) {
  // The kernel sends this signal when the thread that started this process ends. That thread normally waits for this
  // process.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return FailedPrecondition("prctl: %s", std::strerror(errno));
  if (getppid() != arguments.parent) return FailedPrecondition("the coordinator has ended");
  ALPA_RETURN_IF_ERROR(Limit(RLIMIT_CORE, 0));
  VolunteerForOomKiller();
  std::set_new_handler(OnMemoryExhausted);
  if (kLimitMemory && arguments.memory > 0) {
    ALPA_RETURN_IF_ERROR(Limit(RLIMIT_AS, static_cast<rlim_t>(arguments.memory)));
  }
  return absl::OkStatus();
}

int PlanOneTask(int socket, absl::string_view version, const Planner& planner) {
  absl::StatusOr<std::vector<Frame>> frames = ReadTask(socket);
  if (!frames.ok()) return kExitNoTask;
  const absl::StatusOr<PlanTask> task = TaskFromWire((*frames)[0].payload, version);
  PlanningResult result{WithReason(task.status(), reason::kInternal), {}};
  if (task.ok()) result = Plan(*task, (*frames)[1].payload, planner, socket);
  frames->clear();  // frees memory for the answer
  std::string executable = std::move(result.planned.serialized_executable);
  if (result.status.ok() && !executable.empty() && !WriteFrame(socket, FrameKind::kExecutable, executable)) {
    return kExitNoTask;
  }
  executable = std::string();
  return WriteFrame(socket, FrameKind::kAnswer, AnswerToWire(result)) ? kExitAnswered : kExitNoTask;
}

}  // namespace alpa::coordinator
