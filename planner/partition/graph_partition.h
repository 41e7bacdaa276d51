// Writes the program of one device of a mesh axis from the states that propagation found.
//
// Model:  A backward sweep finds the states in which each value is needed. A forward sweep writes each value in its own
//         state, and converts it if another state is needed. A slice of a replicated value is computed directly, if the
//         op that produces the value can compute the slice alone. Examples are a dropout mask, and the square of a
//         gradient of which each device only needs a slice.
// Numbers: Partial sums of 16-bit floats are f32. They are rounded once, when the reduced value is computed.
#pragma once

#include <vector>

#include "planner/partition/propagate.h"

namespace alpa::planner {

// Returns the program of one device. `results`: the needed state of each program result. Each parameter arrives in the
// state that `Propagate` received for it.
graph::Graph PartitionGraph(const graph::Graph& program, const Propagation& propagation,
                            const std::vector<AxisState>& results, const MeshAxis& axis);

}  // namespace alpa::planner
