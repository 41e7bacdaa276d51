#include "graph/fusion/packing.h"

#include <algorithm>
#include <map>

namespace alpa::fusion {

Packing PackingOf(const graph::Graph& graph, const graph::Op& all_reduce) {
  struct Package {
    int operands = 0;
    Bytes size = 0;
  };
  std::map<graph::DType, Package> packages;
  const auto is_small = [&](graph::ValueId v) {
    return graph.shape(v).bytes() > 0 && graph.shape(v).bytes() <= kPackBelow;
  };
  for (graph::ValueId v : all_reduce.operands) {
    if (!is_small(v)) continue;
    Package& package = packages[graph.shape(v).dtype];
    ++package.operands;
    package.size += graph.shape(v).bytes();
  }
  Packing packing;
  for (graph::ValueId v : all_reduce.operands) {
    packing.packed.push_back(is_small(v) && packages[graph.shape(v).dtype].operands > 1);
    if (packing.packed.back()) packing.scratch = std::max(packing.scratch, packages[graph.shape(v).dtype].size);
  }
  return packing;
}

}  // namespace alpa::fusion
