// The planner process: reads one task from a socket, plans it, and writes the answer.
//
// Model:   A planner process plans one task and ends. Nothing here tries to survive a bug: a crash ends the process,
//          and the coordinator reports the crash.
// Threads: main() calls BecomePlanner before it starts threads.
#pragma once

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/units.h"
#include "coordinator/core/planner.h"

namespace alpa::coordinator {

inline constexpr int kPlannerSocket = 3;         // the descriptor of the socket to the coordinator
inline constexpr int kExitAnswered = 0;          // exit code: the process has answered
inline constexpr int kExitNoTask = 65;           // exit code: no valid task arrived
inline constexpr int kExitCannotPlan = 70;       // exit code: the process cannot be set up
inline constexpr int kExitMemoryExhausted = 71;  // exit code: an allocation failed

struct ChildArguments {
  Bytes memory = 0;  // limit of the address space; 0: no limit
  pid_t parent = 0;  // the coordinator
};
// Reads "--memory=BYTES --parent=PID". kInvalidArgument for anything else.
absl::StatusOr<ChildArguments> ParseArguments(int argc, const char* const* argv);

// Prepares this process for planning an untrusted program: limits its memory, turns core files off, and makes the
// process die when the coordinator dies. If the machine runs out of memory, the kernel kills this process first. A
// failed allocation, on any thread, ends the process with kExitMemoryExhausted. kFailedPrecondition if the parent is
// gone or a limit cannot be set.
absl::Status BecomePlanner(const ChildArguments& arguments);

// Uses `planner` to plan the task that arrives on `socket`. Returns the exit code of the process.
int PlanOneTask(int socket, absl::string_view version, const Planner& planner);

}  // namespace alpa::coordinator
