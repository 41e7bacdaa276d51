// Reads XLA's HloModuleProto, as JAX serializes it, into a Graph.
//
// The input may be hostile, so import checks every index, size and attribute. Import inlines calls, replaces tuples by
// their leaves, and unrolls loops with a known trip count, within a budget. If an op is not supported, the error gives
// its name and source location.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace alpa::graph {

struct ImportLimits {
  int64_t max_instructions = 1'000'000;  // limits the module both as given and after inlining and unrolling
  int max_nesting = 64;                  // limits the levels of calls and regions
  int max_rank = 16;                     // limits the dimensions of an array
  int64_t max_unrolled_ops = 200'000;    // limits all unrolled loops together; a loop that would exceed it stays a loop
};

// Errors: kInvalidArgument if the bytes are not a well-formed module. kUnimplemented if a well-formed module uses an
//         unsupported op, element type or layout.
absl::StatusOr<Graph> ImportHlo(absl::string_view serialized_module, const ImportLimits& limits = {});

}  // namespace alpa::graph
