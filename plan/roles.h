// The role table of a program: the role of each input and each output. The client writes it.
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
  std::string path;       // pytree path, such as "['params']['w']"; unique among the inputs
};
struct OutputRole {
  enum class Kind : uint8_t { kState = 0, kAux = 1 };
  Kind kind = Kind::kAux;
  std::string path;          // pytree path; unique among the outputs
  int32_t state_input = -1;  // kState: the graph parameter that this result replaces
};

// One entry per graph parameter and one per graph result, in order.
struct Roles {
  std::vector<InputRole> inputs;
  std::vector<OutputRole> outputs;

  // Returns the result that replaces state input `parameter`, or -1 if no result replaces it. In a verified table,
  // every state input has exactly one such result.
  int StateOutputOf(int parameter) const;
};

// Returns OK, or kInvalidArgument if counts differ, a path is empty or used twice, or a state leaf lacks its output or
// changes shape or dtype. The message names the leaf.
absl::Status Verify(const Roles& roles, const graph::Graph& program);

}  // namespace alpa::plan
