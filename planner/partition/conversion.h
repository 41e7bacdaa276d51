// One array on the devices of a mesh axis, brought from one state along that axis to another.
//
// Cost, for n devices and B bytes of the whole array: replicated -> split nothing; split -> replicated all-gather,
// B (n-1)/n; partial -> replicated all-reduce, 2 B (n-1)/n; partial -> split reduce-scatter, B (n-1)/n; split -> split of
// another dimension all-to-all, B (n-1)/n².
#pragma once

#include <vector>

#include "graph/builder.h"
#include "planner/strategy/axis_state.h"

namespace alpa::planner {

struct MeshAxis {
  int64_t index = 0;  // in the mesh
  int64_t size = 1;
};

// Whether an array of which `wanted` is needed is made whole first, and the rest cut from that: where the whole is needed itself or
// by a conversion, or where so many splits cost less that way. `made`: the state that it is in.
bool ReplicatedFirst(const AxisState& made, const std::vector<AxisState>& wanted, int64_t n);

class Converter {
 public:
  // Writes into `builder`, which must outlive it.
  Converter(graph::GraphBuilder& builder, MeshAxis axis) : builder_(builder), axis_(axis) {}

  // `local` is what each device has of an array of shape `whole` in state `from` (partial sums of 16-bit floats may be
  // f32); returns what it has of it in state `to`, in `whole`'s type unless `to` is partial.
  graph::ValueId Convert(graph::ValueId local, const graph::Shape& whole, const AxisState& from, const AxisState& to);

  // This device's coordinate on the axis, s32[].
  graph::ValueId Coordinate();

 private:
  graph::ValueId Collective(graph::Opcode opcode, graph::ValueId operand, std::vector<int64_t> result_dims,
                            graph::CollectiveAttrs attrs);
  graph::ValueId Gather(graph::ValueId local, const graph::Shape& whole, const AxisState& from);
  graph::ValueId ReduceScatter(graph::ValueId local, const graph::Shape& whole, graph::ReduceKind kind, const AxisState& to);
  graph::ValueId OnFirstDevice(graph::ValueId value, graph::ReduceKind kind);

  graph::GraphBuilder& builder_;
  const MeshAxis axis_;
  graph::ValueId coordinate_;
};

}  // namespace alpa::planner
