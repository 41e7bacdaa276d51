// Exchanges the operands of dots to remove or speed up the transposes of their results.
#pragma once

#include <memory>

#include "graph/graph.h"

namespace alpa::fusion {

// Exchanges the operands of a dot if its only reader is a transpose, and if this transpose moves longer runs of
// elements after the exchange. A transpose that moves nothing after the exchange becomes a reshape. All other ops stay
// unchanged. Returns `graph` itself if nothing changes. Does not change regions, because they are compiled separately.
std::shared_ptr<const graph::Graph> ExchangeDots(std::shared_ptr<const graph::Graph> graph);

}  // namespace alpa::fusion
