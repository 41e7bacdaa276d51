// What each input and output of the program is to the user: the role table that the client writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace alpa::plan {

struct InputRole {
  enum class Kind : uint8_t { kState = 0, kBatch = 1 };
  Kind kind = Kind::kBatch;
  std::string path;       // pytree path, "['params']['w']": unique among inputs of its kind; for people and files
};
struct OutputRole {
  enum class Kind : uint8_t { kState = 0, kAux = 1 };
  Kind kind = Kind::kAux;
  std::string path;
  int32_t state_input = -1;  // kState: the graph parameter that this result replaces
};

// One entry for each graph parameter and each graph result, in order.
struct Roles {
  std::vector<InputRole> inputs;
  std::vector<OutputRole> outputs;

  // The result that replaces state input `parameter`, or -1 where the state passes through unchanged... never for a
  // verified table: every state input has exactly one state output.
  int StateOutputOf(int parameter) const;
};

// OK, or kInvalidArgument naming the leaf: counts differ, a state leaf changes shape or dtype or lacks its output, a path
// is used twice.
absl::Status Verify(const Roles& roles, const graph::Graph& program);

}  // namespace alpa::plan
