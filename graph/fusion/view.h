// Arrays read through strides: broadcasts, slices and transposes without a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace alpa::fusion {

// Element i, counted row-major over `dims`, lies at offset + sum of index[d] * strides[d]. Collapsed: no dimension of
// size 1, no two neighbours that could be one. A scalar has no dimensions.
struct View {
  std::vector<int64_t> dims, strides;
  int64_t offset = 0;

  bool IsScalar() const { return dims.empty(); }
  // Element i lies at offset + i.
  bool IsLinear() const { return dims.size() == 1 && strides[0] == 1; }
};

View Collapsed(const std::vector<int64_t>& dims, const std::vector<int64_t>& strides, int64_t offset);
// How a broadcast, static slice, transpose or reverse reads its operand.
View ViewOf(const graph::Graph& graph, const graph::Op& op);
// to[i] = element begin + i, for i < count; elements of 1, 2, 4 or 8 bytes.
void CopyView(const View& view, const std::byte* from, int element, int64_t begin, int64_t count, std::byte* to);

}  // namespace alpa::fusion
