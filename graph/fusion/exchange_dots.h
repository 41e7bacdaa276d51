// Exchanges the operands of dots to remove or speed up the transposes of their results.
#pragma once

#include <memory>

#include "graph/graph.h"

namespace alpa::fusion {

// Exchanges the operands of a dot if its only reader is a transpose, and if this transpose then moves longer runs of
// elements. If the transpose then moves nothing, it becomes a reshape. All other ops stay. Returns `graph` itself if
// nothing changes. Does not change regions, because they are compiled separately.
std::shared_ptr<const graph::Graph> ExchangeDots(std::shared_ptr<const graph::Graph> graph);

}  // namespace alpa::fusion
