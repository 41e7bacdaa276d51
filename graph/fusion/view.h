// Reads arrays through strides, so that broadcasts, slices and transposes need no copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace alpa::fusion {

// Element i, counted in row-major order over `dims`, is at position `offset` + the sum of `index[d] * strides[d]`.
// Offsets and strides are in elements. A view is collapsed: no dimension has size 1, and no two adjacent dimensions can
// be merged. A view of one repeated element has no dimensions.
struct View {
  std::vector<int64_t> dims, strides;
  int64_t offset = 0;

  bool IsScalar() const { return dims.empty(); }
  // Returns whether element i is at position `offset + i` for each i.
  bool IsLinear() const { return dims.size() == 1 && strides[0] == 1; }
};

// Returns the collapsed view with these dimensions and strides.
View Collapsed(const std::vector<int64_t>& dims, const std::vector<int64_t>& strides, int64_t offset);
// Returns the view through which a broadcast, static slice, transpose or reverse reads its operand.
View ViewOf(const graph::Graph& graph, const graph::Op& op);
// Sets to[i] to element begin + i of the view, for 0 <= i < count. `element`: bytes per element (1, 2, 4 or 8).
void CopyView(const View& view, const std::byte* from, int element, int64_t begin, int64_t count, std::byte* to);

}  // namespace alpa::fusion
