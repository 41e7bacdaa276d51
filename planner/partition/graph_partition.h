// Writes the program of one device of a mesh axis, given the states that propagation found.
//
// Model:  a backward sweep finds in which states each value is needed; a forward sweep writes each value in its own state
//         and converts it where another is needed. Slices of replicated values are not cut from the whole where the ops
//         that make it can make the slice alone (a dropout mask, the square of a gradient that is needed in parts only).
// Numbers: partial sums of 16-bit floats are f32, rounded once when their true value is taken.
#pragma once

#include <vector>

#include "planner/partition/propagate.h"

namespace alpa::planner {

// `results`: the state wanted of each program result. Parameters come in the states that propagation was given.
graph::Graph PartitionGraph(const graph::Graph& program, const Propagation& propagation, const std::vector<AxisState>& results,
                            const MeshAxis& axis);

}  // namespace alpa::planner
