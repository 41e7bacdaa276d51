// Divides a graph into units: groups of ops that one fused kernel computes, and single ops.
//
// Model:    A fused group iterates over n elements in row-major order, whatever their shape is. Its members are
//           elementwise ops on n elements and reductions of n elements. A read is linear if iteration i reads element i
//           of a value of n elements. All other values that a member reads must be views (broadcast, static slice, some
//           transposes), scalars or iotas. Reshapes need no code.
// Method:   Ops are visited from last to first. An elementwise op joins the unit of its earliest reader if the unit
//           has the same n and reads the op's result only linearly. Units execute in the order of their last op. This
//           order is topological, because all readers of the op outside its unit are in units that end later.
//           A value is not stored if a few cheap ops can compute it from values that stay in memory anyway. Each unit
//           that reads the value recomputes it, because memory is slower than arithmetic.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "graph/fusion/storage.h"
#include "graph/fusion/view.h"
#include "graph/graph.h"

namespace alpa::fusion {

// A reduction of an array [outer, reduced, inner]. `inner` covers the kept dimensions after the last reduced one.
struct ReduceLayout {
  int64_t outer = 1, reduced = 1, inner = 1;
  // This view is set if kept dimensions lie between reduced ones. If so, the operand is read through this view, which
  // moves those kept dimensions to the front.
  std::optional<View> order;
};

// The way in which an op is computed.
enum class Role : uint8_t {
  kNothing,  // parameters, constants, dead ops, and ops whose result has the same bytes as their operand
  kElement,  // a member of a fused group
  kReduce,   // the last member of a fused group
  kView,     // fused groups read its operand in place; if another op needs the result, a separate kernel stores it
  kIota,
  kOther,
};

struct Unit {
  std::vector<int> ops;  // indices of ops, increasing
  bool fused = false;
  int64_t n = 0;         // elements that a fused unit iterates over
};

struct FusionPlan {
  std::vector<int> root;         // one entry per value: the first value with the same bytes
  std::vector<Role> roles;       // one entry per op
  std::vector<Unit> units;       // in order of execution
  std::vector<bool> needed;      // one entry per value: whether another unit or a graph result reads it from memory
  std::vector<bool> recomputed;  // one entry per value: whether each unit that reads the value computes it again
};

// Returns whether fused kernels support an elementwise op on operands of this type. An op that they do not support
// becomes a separate unit.
using Computes = std::function<bool(const graph::Op&, graph::DType)>;
// If `computes` is null, fused kernels support every elementwise op.
FusionPlan PlanFusion(const graph::Graph& graph, const Computes& computes = nullptr);

// Returns the storage problem of the plan, without units. The caller must add the units. `alias` has the meaning of
// StorageProblem::alias.
StorageProblem StorageOf(const graph::Graph& graph, const FusionPlan& plan, const std::vector<int32_t>& alias);

// Returns whether the op's result has the same bytes as its operand.
bool IsSameBytes(const graph::Graph& graph, const graph::Op& op);
// Returns the layout of a reduction, or nothing if fused kernels do not support it.
std::optional<ReduceLayout> LayoutOf(const graph::Graph& graph, const graph::Op& reduce);
// Returns whether `op` is a transpose whose innermost runs are too short to be read through a view.
bool IsCopiedTranspose(const graph::Graph& graph, const graph::Op& op);

}  // namespace alpa::fusion
