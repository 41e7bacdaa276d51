// Hand-made executables for tests, with their meshes and ranks.
#pragma once

#include <vector>

#include "plan/executable.h"
#include "worker/core/job_layout.h"

namespace alpa::worker {

// Returns a mesh with axes of the sizes in `shape`. Its devices are first_device, first_device + 1, ...
cluster::Mesh TestMesh(std::vector<int64_t> shape, int first_device = 0);

// One mesh of n devices, one RUN of one program. State w f32[4] is replicated. Batch x f32[4 * n] is split, so each
// device has a tile of 4 elements. w' = w + the sum of all tiles (an all-reduce); aux loss f32[] = the sum of the
// elements of w'.
plan::Executable AddExecutable(int devices);

// One device with state w f32[2], batch x f32[k, 2] and aux total s32[]. In round i, a LOOP of k rounds adds row i of x
// to an accumulator and adds i to a counter. The accumulator starts from 0.5. Then w' = w + accumulator and total =
// counter.
plan::Executable LoopExecutable(int k);

// Two meshes of one device each. Mesh 0 holds w f32[3], computes y = 2 w and w' = w + 1, and sends y. Mesh 1 holds v
// f32[3], computes v' = v + y, and has y as aux.
plan::Executable SendExecutable();

// Two devices. State m f32[4, 5] is split along dimension 1 into tiles of 3 and 2 columns, and state r f32[4] is
// replicated. m' = m + 1 and r' = r.
plan::Executable SplitStateExecutable();

// Two meshes that exchange f32 arrays of shape `dims`. In each round, mesh 0 sends t = w + round with the sharding
// `from`. Mesh 1 receives t with the sharding `to` and computes v' = t - v. With `answers`, mesh 1 also sends v' + 1
// back, and mesh 0 computes w' = v' + 1 - w. The state leaves are w, v and s f32[4]. The first half of s is on mesh 0,
// the second half on mesh 1. Each mesh adds 1 to its half for every array that it receives.
struct Exchange {
  cluster::Mesh first, second;
  std::vector<int64_t> dims;
  plan::Sharding from, to;
  int rounds = 1;
  bool answers = true;
  bool in_a_loop = false;      // false: unrolled, with two slots for sent arrays and two for received ones
};
plan::Executable ExchangeExecutable(const Exchange& exchange);

// The full values of the leaves. ExpectExchange advances them by one step.
struct ExchangeState {
  std::vector<float> w, v, s;
};
void ExpectExchange(const Exchange& exchange, ExchangeState& state);

// Returns ranks for the devices first_device, first_device + 1, ... of worker "me". A device has the same number in the
// job and on the worker.
std::vector<Rank> TestRanks(int devices, int first_device = 0);

}  // namespace alpa::worker
