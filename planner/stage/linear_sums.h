// Splits sums over microbatches whose terms come from several stages. Examples are the gradient of a tied weight, or of
// a leaf that stacks all layers.
//
// Model:  Add, concatenate, dynamic-update-slice, pad and ops that only move elements are linear. They may therefore
//         run after the accumulation instead of before it. Each stage accumulates its own terms, and the linear ops run
//         once per step.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "plan/executable.h"
#include "planner/stage/labels.h"

namespace alpa::planner {

// Returns the values that linear ops combine into `value`, without zeros. If the op of `value` is not linear, returns
// `value` itself.
std::vector<graph::ValueId> LinearParts(const graph::Graph& program, graph::ValueId value);

// Splits every accumulator of the executable's loops whose parts come from different stages. `labels`: as LabelLoops
// returns them. SplitSums adds labels for the new ops and slots.
void SplitSums(plan::Executable& executable, Labels& labels);

}  // namespace alpa::planner
