// Sums over microbatches whose summands come from several stages: a tied weight's gradient, or that of a leaf that stacks
// all layers.
//
// Model:  add, concatenate, dynamic-update-slice, pad and what only moves elements are linear, so they may follow the accumulator
//         instead of preceding it: each stage accumulates what it makes, and the rest is done once a step.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "plan/executable.h"
#include "planner/stage/labels.h"

namespace alpa::planner {

// What `value` is put together from by linear ops; itself where its op is none. Zeros are left out.
std::vector<graph::ValueId> LinearParts(const graph::Graph& program, graph::ValueId value);

// Splits every accumulator of the executable's loops whose parts lie in different stages. `labels`: as LabelLoops made them; they
// are extended by the new ops and slots.
void SplitSums(plan::Executable& executable, Labels& labels);

}  // namespace alpa::planner
