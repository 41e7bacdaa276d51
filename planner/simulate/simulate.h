// Runs an executable's instruction lists in time without running them: how long a step takes, and what memory it needs.
//
// Model:  a discrete-event simulation. The devices of a mesh work in step, so a mesh is one actor; it goes through its list as the
//         worker does: a RUN takes its program's price (cost/program_cost.h), SEND and RECV start a transfer when both ends have
//         got there, and go on; who touches a buffer waits for its transfers. Transfers from one mesh to another follow one
//         another. Where the devices that compute at a time want more cores than their host has, all of them slow down alike, and their
//         collectives wait for those that have no core; where more of them take bytes from memory than it serves at full speed, so
//         do their bytes.
// Memory: of each device of the mesh that needs most: state, one batch, aux values, shared temporaries, programs' arenas.
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/units.h"
#include "cluster/cluster.h"
#include "plan/executable.h"

namespace alpa::planner {

// Where devices want more cores than there are, one that others wait for in a collective may itself wait for a core: so many seconds,
// times the part of their cores that they do not get. Of the order of a scheduler's slice; chosen by measurements
// (bench/planner/predicted.py on 8 devices).
inline constexpr double kSchedulingDelay = 2e-4;

struct MeshMemory {
  Bytes state = 0, batch = 0, aux = 0, temporaries = 0, programs = 0;
  Bytes total() const { return state + batch + aux + temporaries + programs; }
};

// A program under way on a mesh.
struct Span {
  int mesh = 0;
  int program = 0;  // of the executable
  double begin = 0, end = 0;
};

struct Simulation {
  double step_seconds = 0;
  std::vector<Span> spans;                 // by their ends
  std::vector<double> busy_seconds;        // by mesh: in programs, collectives included
  std::vector<double> collective_seconds;  // by mesh, of these, with no neighbour busy
  int64_t collectives = 0, messages = 0;   // of all meshes together; rounds of edges between them
  std::vector<MeshMemory> memory;          // by mesh, of each of its devices
  Bytes peak_device_memory() const;
};

// REQUIRES: a verified executable. kInvalidArgument: `cluster` lacks one of its devices, or is not measured.
absl::StatusOr<Simulation> Simulate(const plan::Executable& executable, const cluster::Cluster& cluster);

// What to do for people to see it: a line a mesh.
std::string Print(const Simulation& simulation);

}  // namespace alpa::planner
