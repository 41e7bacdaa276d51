// A Planner that plans each task in a separate process, so that no program can end the coordinator.
//
// Model:   Each call starts alpa-planner (main.cc) and sends it the task and the user's program over a socket. The call
//          passes the progress of planning on to `progress`. At intervals of kPoll, the call also passes an empty text,
//          and kills the process if `progress` returns false. The call returns only when all processes of the planner's
//          process group are dead.
// Trust:   the process works on untrusted programs, and an attacker may control it. The call therefore bounds and
//          checks the frames that it receives (wire.h). The process inherits no descriptors except stderr and the
//          socket.
// Threads: thread-safe; one process per call. The process dies with the thread that made the call.
// Errors:  the errors in the answer of the process. kCancelled if `progress` returned false. kResourceExhausted with
//          reason NO_FEASIBLE_PLAN if the memory limit was reached. kInternal with reason INTERNAL if the process
//          crashed, was killed, gave no answer, or broke the rules of wire.h.
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
  Bytes memory = 4 * kGiB;  // limit of the address space of a planner process; 0: no limit
  std::string version;      // of this program; the planner program must have the same version
};

Planner MakePlannerProcess(const PlannerProcessOptions& options);

// Returns the path of the planner program: `given`, or alpa-planner in the folder of this program if `given` is empty.
// Returns kFailedPrecondition if no program has this path.
absl::StatusOr<std::string> FindPlannerProgram(const std::string& given);

}  // namespace alpa::coordinator
