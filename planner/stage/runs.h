// Lists the programs of a one-mesh executable in the order in which they run, and relates their values to slots.
#pragma once

#include <vector>

#include "plan/executable.h"

namespace alpa::planner {

struct ProgramRun {
  plan::RunInstruction run;
  bool in_loop = false;
};

// Returns the program runs of the executable's mesh 0, in order.
std::vector<ProgramRun> RunsOf(const plan::Executable& executable);

// If result `r` of a run is the old value of its slot plus another value, returns the other value. Otherwise returns an
// invalid id.
graph::ValueId AddedTo(const graph::Graph& program, const plan::RunInstruction& run, size_t r);

// Returns one entry per value of the run's program: whether each reader recomputes the value instead of receiving it.
// Readers recompute constants, the loop index, a microbatch's slice of a batch leaf, and the results of elementwise or
// rearranging ops on such values.
std::vector<bool> RecomputedEverywhere(const plan::Executable& executable, const ProgramRun& run);

// Returns one entry per value of the run's program: the kinds of leaves on which the value depends, as bits.
// kFromState: it depends on a state leaf. kFromBatch: it depends on a batch leaf or the loop index. `slots`: the same
// bits, one entry per slot. Pass an empty vector for the first run. Each call adds the bits of the slots that the run
// writes.
inline constexpr uint8_t kFromState = 1, kFromBatch = 2;
std::vector<uint8_t> Origins(const plan::Executable& executable, const ProgramRun& run, std::vector<uint8_t>& slots);

}  // namespace alpa::planner
