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

// Device i of the job is local device i of worker "me" where i is in `local`; others are elsewhere.
std::vector<Rank> TestRanks(int devices, int first_device = 0);

}  // namespace alpa::worker
