// What one run of a device program costs on a kind of device: seconds, and memory beside its parameters and results.
//
// Model:  prices the kernels that a program becomes (graph/fusion), not over its ops. A fused kernel takes its arithmetic
//         and its traffic with memory, which overlap little in practice; a product takes what products of its shape were measured to take.
//         What was touched long before is read at the speed of as much memory as was used since.
// Memory: the arena that a backend plans for such kernels. Kernels' own scratch memory is estimated.
// Threads: pure functions.
#pragma once

#include <functional>
#include <vector>

#include "base/units.h"
#include "cluster/cluster.h"
#include "graph/graph.h"

namespace alpa::planner {

// Seconds of one collective op of the program. Null: they cost nothing.
using CollectiveCostFn = std::function<double(const graph::Graph&, const graph::Op&)>;

struct ProgramCost {
  double compute_seconds = 0;
  double memory_seconds = 0;  // of these, for bytes that no cache holds: longer while other devices of the host take theirs
  double collective_seconds = 0;
  int64_t collectives = 0;
  Bytes temporary_bytes = 0;
};

// `alias` as plan::StageProgram::alias. `sharers`: devices that run such a program at a time and use the same memory and outermost
// cache, this one included.
ProgramCost EstimateProgramCost(const graph::Graph& program, const std::vector<int32_t>& alias, const cluster::DeviceProfile& device,
                         const CollectiveCostFn& collective, double sharers = 1);

// Seconds of [m, k] x [k, n] from measured products: the rates of those whose shapes are nearest, in logarithms, weigh most.
// Larger ones than any are as fast as the largest.
double ProductSeconds(const std::vector<cluster::ProductPoint>& measured, int64_t m, int64_t n, int64_t k);

// The roofline bound of a step: what its kernels would take on all of the cluster's devices together, were the work shared evenly,
// nothing sent, each product as fast as the fastest measured one, and memory always at its best. No plan can be faster that
// computes what the program says. REQUIRES: the cluster is measured.
// Source: Williams et al., "Roofline" (CACM 2009).
double RooflineSeconds(const graph::Graph& program, const cluster::Cluster& cluster);

}  // namespace alpa::planner
