// The devices of this machine's processor. Each device is a share of the cores, with ordinary memory and one thread as
// its stream.
//
// Model:    A device's stream is a thread that executes its queue. A program is compiled to a fixed list of kernels
//           over one arena. Large kernels split their range among the device's threads, always in the same way. So a
//           program gives the same bits on every run with the same number of threads.
// Threads:  as in kernels/backend.h.
// Errors:   if memory_limit or the machine's memory does not suffice, Allocate and Compile fail with
//           kResourceExhausted. The message gives the numbers of bytes.
#pragma once

#include <memory>

#include "base/units.h"
#include "kernels/backend.h"

namespace alpa::kernels::cpu {

struct CpuBackendOptions {
  int devices = 1;
  // Threads per device, including the thread of the device's stream. 0: an even share of the cores that this process
  // may use.
  int threads_per_device = 0;
  // Limit on the bytes that one device holds in buffers and in its programs' arena. 0: no limit from the backend.
  Bytes memory_limit = 0;
};

// Makes a backend. REQUIRES: options.devices >= 1.
std::unique_ptr<Backend> MakeCpuBackend(const CpuBackendOptions& options);

// The time that a program has spent in one kernel. ReadProfile returns one entry per kernel, in order of execution.
// Tests also use the entries to check that a program has no slow kernels. Profiling costs two clock readings per
// kernel.
struct KernelTime {
  std::string kind;    // "fused", "dot", "evaluator", ...
  std::string where;   // "dot at model.py:12 f32[8,256]"; for a fused group, its last op
  double seconds = 0;  // total of all runs since profiling began; processor time if the device has one thread
};
// REQUIRES: this backend compiled `program`. Call EnableProfiling before the runs, and ReadProfile after the stream has
// passed them.
void EnableProfiling(CompiledProgram& program);
std::vector<KernelTime> ReadProfile(const CompiledProgram& program);

}  // namespace alpa::kernels::cpu
