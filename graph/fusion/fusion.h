// Divides a graph into units: groups of ops that one fused kernel computes, and single ops.
//
// Model:    a fused group goes over n elements in row-major order, whatever their shape: its members are elementwise
//           ops of n elements and reductions of n elements. It reads values of n elements at its own position
//           ("linear"), and others through views (broadcast, static slice, some transposes), scalars and iotas.
//           Reshapes vanish.
// Method:   from the last op to the first; an op joins the unit of its earliest-executed user where all that unit's
//           uses are linear and of the same n. Units execute in order of their last op, which is then a topological
//           order: a user outside the group lies in a unit that ends later.
//           A value that a few cheap ops make from what later units find in memory anyway is made again by each of them
//           instead of being stored: memory is slower than arithmetic.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "graph/fusion/storage.h"
#include "graph/fusion/view.h"
#include "graph/graph.h"

namespace alpa::fusion {

// A reduction as [outer, reduced, inner]: inner are the kept dimensions behind the last reduced one.
struct ReduceLayout {
  int64_t outer = 1, reduced = 1, inner = 1;
  // Kept dimensions stand between reduced ones: the operand is read through this view, in which they stand in front.
  std::optional<View> order;
};

// How an op is computed.
enum class Role : uint8_t {
  kNothing,  // parameters, constants, dead ops, and ops whose result is their operand's bytes
  kElement,  // member of a fused group
  kReduce,   // ends a fused group
  kView,     // read by fused groups without being made; made by a kernel of its own where something else needs it
  kIota,
  kOther,
};

struct Unit {
  std::vector<int> ops;  // increasing
  bool fused = false;
  int64_t n = 0;
};

struct FusionPlan {
  std::vector<int> root;         // by value: the value whose bytes it is
  std::vector<Role> roles;       // by op
  std::vector<Unit> units;       // in order of execution
  std::vector<bool> needed;      // by value: some other unit or the graph's results read it from memory
  std::vector<bool> recomputed;  // by value: every unit that reads it computes it itself
};

// Whether fused kernels compute an elementwise op on operands of a type; of what they do not, each is a unit of its own.
using Computes = std::function<bool(const graph::Op&, graph::DType)>;
// `computes` null: everything elementwise.
FusionPlan PlanFusion(const graph::Graph& graph, const Computes& computes = nullptr);

// What is to be placed when the plan's units run in order, but for these themselves. `alias` as StorageProblem's.
StorageProblem StorageOf(const graph::Graph& graph, const FusionPlan& plan, const std::vector<int32_t>& alias);

// Whether the op's result is its operand's bytes.
bool IsSameBytes(const graph::Graph& graph, const graph::Op& op);
// The layout of a reduction that fused kernels compute; nothing: another kernel must.
std::optional<ReduceLayout> LayoutOf(const graph::Graph& graph, const graph::Op& reduce);
// Whether `op` is a transpose, and its innermost runs are too short to be read through a view.
bool IsCopiedTranspose(const graph::Graph& graph, const graph::Op& op);

}  // namespace alpa::fusion
