// Converts an array on the devices of a mesh axis from one state along that axis to another.
//
// Cost:   bytes that each device sends, for n devices and B bytes of the full array:
//           replicated -> split       a slice           0
//           split -> replicated       an all-gather     B (n-1)/n
//           partial -> replicated     an all-reduce     2 B (n-1)/n
//           partial -> split          a reduce-scatter  B (n-1)/n
//           split -> another split    an all-to-all     B (n-1)/n²
#pragma once

#include <vector>

#include "graph/builder.h"
#include "planner/strategy/axis_state.h"

namespace alpa::planner {

struct MeshAxis {
  int64_t index = 0;  // position among the axes of the mesh
  int64_t size = 1;
};

// Returns whether an array should become replicated first, so that the needed splits are slices of the replicated form.
// This is so if a reader or a conversion needs the replicated form in any case. It is also so if readers need several
// splits, and slices of the replicated form cost less than conversions. `made`: the current state of the array.
// `wanted`: the needed states. `n`: the axis size.
bool ReplicatedFirst(const AxisState& made, const std::vector<AxisState>& wanted, int64_t n);

class Converter {
 public:
  // Writes conversions into `builder`, which must outlive the converter.
  Converter(graph::GraphBuilder& builder, MeshAxis axis) : builder_(builder), axis_(axis) {}

  // Converts an array of shape `whole` from state `from` to state `to`. `local`: each device's tile or term of the
  // array in state `from`. Returns each device's tile or term in state `to`. Partial sums of 16-bit floats may be f32.
  // The result has the dtype of `whole`, unless `to` is partial.
  graph::ValueId Convert(graph::ValueId local, const graph::Shape& whole, const AxisState& from, const AxisState& to);

  // Returns this device's coordinate on the axis, s32[].
  graph::ValueId Coordinate();

 private:
  graph::ValueId Collective(graph::Opcode opcode, graph::ValueId operand, std::vector<int64_t> result_dims,
                            graph::CollectiveAttrs attrs);
  graph::ValueId Gather(graph::ValueId local, const graph::Shape& whole, const AxisState& from);
  graph::ValueId ReduceScatter(graph::ValueId local, const graph::Shape& whole, graph::ReduceKind kind,
                               const AxisState& to);
  graph::ValueId OnFirstDevice(graph::ValueId value, graph::ReduceKind kind);

  graph::GraphBuilder& builder_;
  const MeshAxis axis_;
  graph::ValueId coordinate_;
};

}  // namespace alpa::planner
