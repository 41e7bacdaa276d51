// Simulates an executable: runs its instruction lists in time only, and predicts the seconds and memory of a step.
//
// Model:   A discrete-event simulation. The devices of a mesh work in lockstep, so a mesh is one actor. The actor goes
//          through its list as a worker does. A RUN takes the time of its program (cost/program_cost.h). A SEND or RECV
//          does not block. The transfer starts when the sender has reached its SEND and the receiver its RECV. An
//          instruction waits for the transfers of the buffers that it touches. All transfers from one mesh to another
//          run one after the other.
//          If the devices that compute at the same time want more cores than their host has, all of them slow down by
//          the same factor. The collectives of these devices also wait for members that have no core. If more devices
//          use memory at the same time than their host serves at full speed, the memory traffic of all of them slows
//          down by the same factor.
// Memory:  for each device of a mesh: state, one batch, aux values, shared temporaries, and the arenas of programs.
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/units.h"
#include "cluster/cluster.h"
#include "plan/executable.h"

namespace alpa::planner {

// Seconds that a collective waits for a member without a core, if the devices want more cores than their host has. The
// simulation multiplies this delay by the share of the wanted cores that the devices do not get. The value is of the
// order of a scheduler's time slice. It was fitted to measurements (bench/planner/predicted.py on 8 devices).
inline constexpr double kSchedulingDelay = 2e-4;

// Bytes on one device of a mesh. `temporaries`: slots that hold values between programs. `programs`: the largest arena
// inside one program.
struct MeshMemory {
  Bytes state = 0, batch = 0, aux = 0, temporaries = 0, programs = 0;
  Bytes total() const { return state + batch + aux + temporaries + programs; }
};

// One run of a program on a mesh, in seconds from the start of the step.
struct Span {
  int mesh = 0;
  int program = 0;  // index in Executable::programs
  double begin = 0, end = 0;
};

struct Simulation {
  double step_seconds = 0;
  std::vector<Span> spans;                 // in order of their end times
  std::vector<double> busy_seconds;        // one entry per mesh: time in programs, including collectives
  std::vector<double> collective_seconds;  // one entry per mesh: time in collectives on otherwise idle hosts
  int64_t collectives = 0;                 // number of collective ops that all meshes run
  int64_t messages = 0;                    // number of messages between meshes
  std::vector<MeshMemory> memory;          // one entry per mesh
  Bytes peak_device_memory() const;        // the largest total of `memory`
};

// Errors: kInvalidArgument if `cluster` lacks a device of the executable or is not measured.
// REQUIRES: a verified executable.
absl::StatusOr<Simulation> Simulate(const plan::Executable& executable, const cluster::Cluster& cluster);

// Returns a human-readable summary, with one line per mesh.
std::string Print(const Simulation& simulation);

}  // namespace alpa::planner
