// Removes or speeds up transposes of dots, by exchanging the operands of the dots.
#pragma once

#include <memory>

#include "graph/graph.h"

namespace alpa::fusion {

// Exchanges the operands of each dot that has a transpose as its only reader, if the transpose then moves longer runs
// of elements. A transpose that then moves nothing becomes a reshape. All other ops stay. Returns `graph` itself if
// nothing changes. Does not change regions, because they are compiled separately.
std::shared_ptr<const graph::Graph> ExchangeDots(std::shared_ptr<const graph::Graph> graph);

}  // namespace alpa::fusion
