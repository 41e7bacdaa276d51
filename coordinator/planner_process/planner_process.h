// A Planner that plans each task in a process of its own, so that no program can end the coordinator.
//
// Model:   Each call starts the planner program (main.cc), sends it the task and the program over a socket, and passes
//          on its progress. Every kPoll the call asks `progress` with an empty text whether the answer is still wanted,
//          and kills the process if it is not. A call returns only after the process, and every process that it has
//          started in its process group, is dead.
// Trust:   the process works on untrusted programs and may have been taken over. So its frames are bounded and checked
//          (wire.h), and it inherits no descriptors except stderr and the socket.
// Threads: thread-safe; one process per call. The process dies with the thread that made the call.
// Errors:  those that the process answers. kCancelled if `progress` returned false. kResourceExhausted with reason
//          NO_FEASIBLE_PLAN if the memory limit was reached. kInternal with reason INTERNAL if the process crashed, was
//          killed, gave no answer, or broke the rules of wire.h.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/units.h"
#include "coordinator/core/planner.h"

namespace alpa::coordinator {

inline constexpr Duration kPoll = std::chrono::milliseconds(200);

struct PlannerProcessOptions {
  std::string path;         // of the planner program
  Bytes memory = 4 * kGiB;  // limit of its address space; 0: no limit
  std::string version;      // of this program; the planner program must have the same version
};

Planner MakePlannerProcess(const PlannerProcessOptions& options);

// Returns the path of the planner program: `given`, or alpa-planner in the folder of this program if `given` is empty.
// kFailedPrecondition if there is no such program.
absl::StatusOr<std::string> FindPlannerProgram(const std::string& given);

}  // namespace alpa::coordinator
