// Runs an Executable on the reference evaluator: all devices of a mesh in lockstep, op by op, collectives by their
// definition; meshes in turn, each up to a RECV whose messages are not there yet. What lowering must preserve can be tested against it without a worker, a backend or a network.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "plan/executable.h"

namespace alpa::testing {

// One step. `inputs`: whole leaves by graph parameter. Returns whole leaves: for each graph result of the program, aux by
// Executable::outputs, state from its slots afterwards (`state_input_of_result[i]` >= 0 names the parameter).
// Fails where replicas disagree: devices that hold the same tile must hold the same bits.
// Fails where a mesh waits for what nobody sends.
absl::StatusOr<std::vector<graph::Literal>> Interpret(const plan::Executable& executable,
                                                      const std::vector<graph::Literal>& inputs,
                                                      const std::vector<int32_t>& state_input_of_result);

}  // namespace alpa::testing
