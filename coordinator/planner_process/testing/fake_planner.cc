// A planner program for tests. It sets itself up as alpa-planner does. The program that it receives names its
// behaviour, such as "hang".
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/reason.h"
#include "coordinator/planner_process/child.h"
#include "coordinator/planner_process/wire.h"

namespace alpa::coordinator {
namespace {

int Overflow(volatile int* depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(*depth);
  *depth = *depth + 1;
  if (*depth < 0) return 0;  // never true; avoids a warning about endless recursion
  return Overflow(depth) + frame[0];
}

// Allocates and writes memory until none is left.
void AllocateWithoutEnd(bool with_malloc) {
  constexpr size_t kPiece = 4 << 20;
  for (;;) {
    void* piece = with_malloc ? std::malloc(kPiece) : new char[kPiece];
    std::memset(piece, 1, kPiece);
  }
}

void Write(absl::string_view bytes) { send(kPlannerSocket, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

[[noreturn]] void Hang() {
  for (;;) pause();
}

absl::Status Do(absl::string_view word, const PlanningProgress& progress) {
  for (int signal_number : {SIGSEGV, SIGABRT}) signal(signal_number, SIG_DFL);  // removes the handlers of a sanitizer
  if (word == "segfault") raise(SIGSEGV);
  if (word == "abort") std::abort();
  if (word == "throw on a thread") std::thread([] { throw std::runtime_error("nobody catches this"); }).join();
  if (word == "stack") {
    volatile int depth = 0;
    return absl::InternalError(absl::StrCat(Overflow(&depth)));
  }
  if (word == "allocate") AllocateWithoutEnd(false);
  if (word == "allocate on a thread") std::thread([] { AllocateWithoutEnd(false); }).join();
  if (word == "malloc") AllocateWithoutEnd(true);
  if (word == "hang") Hang();
  if (word == "leave the group and hang") {
    setsid();
    setpgid(0, getppid());
    Hang();
  }
  if (word == "start a process and die") {
    if (fork() == 0) Hang();
    _exit(3);
  }
  if (word == "tell and hang") {
    progress("planning: 1 plan evaluated");
    Hang();
  }
  if (word == "exit 3") _exit(3);
  if (word == "close early") {
    close(kPlannerSocket);
    Hang();
  }
  if (word == "garbage") {
    Write("this is not a frame");
    Hang();
  }
  if (word == "flood") {
    for (;;) Write(FrameHeader(FrameKind::kProgress, 1) + "x");
  }
  if (word == "a huge frame") {
    Write(std::string("\x05\xff\xff\xff\xff\xff\xff\xff\x7f", 9));
    Hang();
  }
  if (word == "half a frame") {
    Write(FrameHeader(FrameKind::kAnswer, 100) + "half");
    _exit(0);
  }
  if (word == "a bad answer") {
    Write(FrameHeader(FrameKind::kAnswer, 3) + "\xff\xff\xff");
    Hang();
  }
  if (word == "a task") {
    Write(FrameHeader(FrameKind::kTask, 0));
    Hang();
  }
  if (word == "descriptors") {
    // Only stdin, stdout, stderr and the socket may be open.
    for (int fd = kPlannerSocket + 1; fd < 1000; ++fd) {
      if (dup2(fd, fd) >= 0) return absl::InternalError(absl::StrCat("descriptor ", fd, " is open"));
    }
    return absl::OkStatus();
  }
  if (word == "signals") {
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    if (sigismember(&mask, SIGTERM) == 1) return absl::InternalError("SIGTERM is blocked");
    return getpgrp() == getpid() ? absl::OkStatus() : absl::InternalError("the process has no group of its own");
  }
  if (absl::ConsumePrefix(&word, "fail ")) {
    return WithReason(absl::InvalidArgumentError(std::string(word)), reason::kBadProgram);
  }
  return absl::OkStatus();
}

absl::StatusOr<Planned> Plan(const PlanTask& task, absl::string_view program, const PlanningProgress& progress) {
  if (absl::Status status = Do(program, progress); !status.ok()) return status;
  progress("planning: 1 plan evaluated");
  Planned planned;
  planned.devices = task.devices;
  planned.serialized_executable = absl::StrCat("executable of ", program);
  planned.warnings = {"a warning"};
  return planned;
}

absl::Status Check(const PlanTask&, absl::string_view program, const PlanningProgress& progress) {
  return Do(program, progress);
}

}  // namespace
}  // namespace alpa::coordinator

int main(int argc, char** argv) {
  using namespace alpa::coordinator;
  const auto arguments = ParseArguments(argc, argv);
  if (!arguments.ok() || !BecomePlanner(*arguments).ok()) return kExitCannotPlan;
  return PlanOneTask(kPlannerSocket, "1.0", {Plan, Check});
}
