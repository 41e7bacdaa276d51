// The cost of running a stage program once on a kind of device: its seconds, and its memory in addition to parameters
// and results.
//
// Model:   Adds up the times of the kernels into which graph/fusion turns the program, not the times of the ops. A
//          fused kernel takes the time of its arithmetic plus the time of its memory traffic, because the two overlap
//          little in practice. A matrix product takes the time that measured products of similar shapes take. Moving a
//          value takes longer if many other bytes were moved since its last use. The time per byte is the time that a
//          measured kernel takes per byte if it moves this number of bytes.
// Memory:  the arena that a backend plans for these kernels. Scratch memory of the kernels is estimated.
// Threads: pure functions.
#pragma once

#include <functional>
#include <vector>

#include "base/units.h"
#include "cluster/cluster.h"
#include "graph/graph.h"

namespace alpa::planner {

// Returns the seconds of one collective op of the program. Null: collectives cost nothing.
using CollectiveCostFn = std::function<double(const graph::Graph&, const graph::Op&)>;

struct ProgramCost {
  double compute_seconds = 0;     // time of the kernels, without collectives
  // The part of compute_seconds that moves bytes that are in no cache. This time grows while other devices of the host
  // use memory.
  double memory_seconds = 0;
  double collective_seconds = 0;
  int64_t collectives = 0;        // number of collective ops
  Bytes temporary_bytes = 0;
};

// `alias`: as plan::StageProgram::alias. `sharers`: number of devices, this one included, that run such a program at
// the same time and share the memory and the outermost cache.
ProgramCost EstimateProgramCost(const graph::Graph& program, const std::vector<int32_t>& alias,
                                const cluster::DeviceProfile& device, const CollectiveCostFn& collective,
                                double sharers = 1);

// Returns the seconds of the product [m, k] x [k, n], interpolated from measured products. The rates of the products
// with the nearest shapes (by the logarithms of m, n and k) weigh most. A product outside the measured range has the
// rate at the edge of the range.
double ProductSeconds(const std::vector<cluster::ProductPoint>& measured, int64_t m, int64_t n, int64_t k);

// Returns the roofline bound of a step in seconds: the time of its kernels on all devices of the cluster together. It
// assumes that the work is shared evenly and that nothing is sent. Every matrix product is as fast as the fastest
// measured one, and memory always has its best rate. No plan that computes the program can be faster.
// REQUIRES: the cluster is measured.
// Source: Williams et al., "Roofline" (CACM 2009).
double RooflineSeconds(const graph::Graph& program, const cluster::Cluster& cluster);

}  // namespace alpa::planner
