// Spares transposes behind dots.
#pragma once

#include <memory>

#include "graph/graph.h"

namespace alpa::fusion {

// A dot of which only a transpose is used exchanges its operands, where the transpose then moves longer runs or nothing
// at all. Everything else stays; the graph itself where nothing changes. Regions are left alone: they are compiled on
// their own.
std::shared_ptr<const graph::Graph> ExchangeDots(std::shared_ptr<const graph::Graph> graph);

}  // namespace alpa::fusion
