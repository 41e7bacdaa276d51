// Prints graphs as human-readable text, which golden tests compare. The text has one op per line, such as
// `%7 = f32[8,4] dot(%1, %2) lhs_contracting={1} ...  # model.py:42`.
#pragma once

#include <string>

#include "graph/graph.h"

namespace alpa::graph {

struct PrintOptions {
  bool locations = false;
  int64_t max_literal_elements = 8;  // maximum number of printed elements per constant
};
std::string Print(const Graph& graph, const PrintOptions& options = {});
std::string PrintOp(const Graph& graph, const Op& op, const PrintOptions& options = {});

}  // namespace alpa::graph
