// Interprets an Executable with the reference evaluator. Tests of lowering then need no worker, backend or network.
//
// Model: All devices of a mesh execute its instruction list in lockstep, op by op. A collective is computed by its
//        definition. The meshes take turns. Each mesh runs until a RECV whose messages have not been sent yet.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/executable.h"

namespace alpa::testing {

// Runs one step. `inputs`: the full leaves, by graph parameter. Returns full values, by graph result of the program.
// Reads each aux value from the meshes and devices that Executable::outputs names, and each new state leaf from the
// leaf's slots after the step. `state_input_of_result[i]`: the graph parameter that result i replaces, or -1 if result
// i is aux.
// Errors: kInternal if devices that hold the same tile do not hold the same bits, if a mesh waits for a message that no
//         mesh sends, or if a message is not received. kUnimplemented for BROADCAST and collective instructions.
absl::StatusOr<std::vector<graph::Literal>> Interpret(const plan::Executable& executable,
                                                      const std::vector<graph::Literal>& inputs,
                                                      const std::vector<int32_t>& state_input_of_result);

}  // namespace alpa::testing
