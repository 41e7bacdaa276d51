// Interprets an Executable with the reference evaluator. With the interpreter, tests of lowering need no worker,
// backend or network.
//
// Model: All devices of a mesh execute the mesh's instruction list in lockstep, op by op. A collective is computed by
//        its definition. The meshes take turns. A mesh's turn ends at a RECV whose messages have not been sent yet.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/executable.h"

namespace alpa::testing {

// Runs one step. `inputs` holds full leaves, one entry per graph parameter. Returns full values, one entry per graph
// result of the program. Reads each aux value from the meshes and devices that Executable::outputs names, and each new
// state leaf from the leaf's slots after the step. `state_input_of_result[i]` is the graph parameter that result `i`
// replaces, or -1 if result `i` is aux.
// Errors: kInternal if devices that hold the same tile do not hold the same bits, if a mesh waits for a message that no
//         mesh sends, or if a message is not received. kUnimplemented for BROADCAST and collective instructions.
absl::StatusOr<std::vector<graph::Literal>> Interpret(const plan::Executable& executable,
                                                      const std::vector<graph::Literal>& inputs,
                                                      const std::vector<int32_t>& state_input_of_result);

}  // namespace alpa::testing
