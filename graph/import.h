// Reads XLA's HloModuleProto, as JAX serialises it, into a Graph.
//
// Input is hostile: every index, size and attribute is checked. Calls are inlined, tuples dissolved, loops with a known
// trip count unrolled (within a budget), unsupported ops refused with name and source location.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace alpa::graph {

struct ImportLimits {
  int64_t max_instructions = 1'000'000;
  int max_nesting = 64;
  int max_rank = 16;
  int64_t max_unrolled_ops = 200'000;
};

// kInvalidArgument: not a well-formed module; kUnimplemented: well-formed, but uses what we do not support.
absl::StatusOr<Graph> ImportHlo(absl::string_view serialized_module, const ImportLimits& limits = {});

}  // namespace alpa::graph
