// The programs of a one-mesh executable in the order in which they run, and what connects them.
#pragma once

#include <vector>

#include "plan/executable.h"

namespace alpa::planner {

struct ProgramRun {
  plan::RunInstruction run;
  bool in_loop = false;
};

// Of the executable's mesh 0.
std::vector<ProgramRun> RunsOf(const plan::Executable& executable);

// What result `r` of a run adds to the slot that it goes to, given that as a parameter; invalid where it does not.
graph::ValueId AddedTo(const graph::Graph& program, const plan::RunInstruction& run, size_t r);

// Values that are made anew wherever they are read, rather than carried: constants, the loop index, what is made from those element
// by element or by rearranging, and a microbatch's slice of a batch leaf. By value of the run's program.
std::vector<bool> RecomputedEverywhere(const plan::Executable& executable, const ProgramRun& run);

// By value of `program`: how a value comes to be wanted in a step, as bits. kFromState: it depends on a state leaf; kFromBatch: on
// a batch leaf. `slots` holds the same of each slot, and is extended by what the run writes.
inline constexpr uint8_t kFromState = 1, kFromBatch = 2;
std::vector<uint8_t> Origins(const plan::Executable& executable, const ProgramRun& run, std::vector<uint8_t>& slots);

}  // namespace alpa::planner
