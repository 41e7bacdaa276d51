// Hand-made executables for tests, and what goes with them.
#pragma once

#include <vector>

#include "plan/executable.h"
#include "worker/core/job_layout.h"

namespace alpa::worker {

// Devices 0..n-1 in a mesh with axes of these sizes.
cluster::Mesh TestMesh(std::vector<int64_t> shape, int first_device = 0);

// state w f32[4] (replicated), batch x f32[n * 4] (split on n devices) -> w' = w + all-reduce sum of the rows of x seen
// as [n*?, 4], aux loss f32[] = sum of w'. One RUN of one program.
plan::Executable AddExecutable(int devices);

// One device: state w f32[2], batch x f32[k, 2], aux total s32[]: a LOOP of k adds row i of x to an accumulator and i to a
// counter; then w' = w + accumulator, total = counter.
plan::Executable LoopExecutable(int k);

// Two meshes of one device: mesh 0 holds w f32[3], makes y = 2 w and sends it; mesh 1 holds v f32[3], v' = v + y, and has
// aux y. w' = w + 1.
plan::Executable SendExecutable();

// Two devices, state m f32[4, 5] split on dimension 1 (tiles of 3 and 2 columns), and r f32[4] replicated; m' = m + 1.
plan::Executable SplitStateExecutable();

// Two meshes that exchange f32 arrays of `dims` in each of some rounds: mesh 0 sends t = w + round, cut like `from`, and mesh 1
// takes it, cut like `to`, into v' = t - v. With `answers` it sends back v' + 1, and mesh 0 makes w' = v' + 1 - w. Leaves: w; v;
// s f32[4], whose first half lies on mesh 0 and whose second on mesh 1, which add 1 to it for each array they get.
struct Exchange {
  cluster::Mesh first, second;
  std::vector<int64_t> dims;
  plan::Sharding from, to;
  int rounds = 1;
  bool answers = true;
  bool in_a_loop = false;      // else unrolled, over two slots for what is sent and two for what is received
};
plan::Executable ExchangeExecutable(const Exchange& exchange);

// The leaves, whole, after one more step.
struct ExchangeState {
  std::vector<float> w, v, s;
};
void ExpectExchange(const Exchange& exchange, ExchangeState& state);

// Device i of the job is local device i of worker "me" where i is in `local`; others are elsewhere.
std::vector<Rank> TestRanks(int devices, int first_device = 0);

}  // namespace alpa::worker
