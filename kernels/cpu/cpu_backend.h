// The devices of this machine's processor: each is a share of the cores, ordinary memory and one thread of work.
//
// Model:    A device's stream is a thread that executes its queue. A program is compiled to a fixed list of kernels
//           over one arena; kernels that are worth it split their range among the device's own threads, always in the
//           same way, so that the same program gives the same bits on every run with the same number of threads.
// Threads:  as kernels/backend.h.
// Errors:   Allocate and Compile give kResourceExhausted, with the numbers, where memory_limit or the machine's memory
//           does not allow it.
#pragma once

#include <memory>

#include "base/units.h"
#include "kernels/backend.h"

namespace alpa::kernels::cpu {

struct CpuBackendOptions {
  int devices = 1;
  // Threads of each device, its stream's own among them. 0: the cores that this process may use, shared evenly.
  int threads_per_device = 0;
  // Most that one device may hold in buffers and programs' arenas. 0: no limit of ours.
  Bytes memory_limit = 0;
};

// REQUIRES: options.devices >= 1.
std::unique_ptr<Backend> MakeCpuBackend(const CpuBackendOptions& options);

// Where a program's time goes, kernel by kernel in order of execution; for looking and for tests of what is fast. Costs
// two clock readings a kernel once enabled.
struct KernelTime {
  std::string kind;    // "fused", "dot", "evaluator", ...
  std::string where;   // "dot at model.py:12 f32[8,256]"; of a fused group, its last op
  double seconds = 0;  // of all runs since profiling began; with one thread a device, processor time
};
// For programs of this backend. Enable before the runs; read when the stream has passed them.
void EnableProfiling(CompiledProgram& program);
std::vector<KernelTime> ReadProfile(const CompiledProgram& program);

}  // namespace alpa::kernels::cpu
