// The state of a value along one axis. An axis cuts the computation into n equal chunks. The axis is the microbatch
// axis (chunks in time), a mesh axis (chunks in space), or both together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace alpa::plan {

struct AxisState {
  enum class Kind : uint8_t {
    kReplicated,  // every chunk has the full value
    kSplit,       // chunk c has the slice [:, c, :] of dimension `dim`, viewed as [outer, n, inner]
    kPartial,     // every chunk has one term; the value is the reduction of all terms
  };
  Kind kind = Kind::kReplicated;
  int64_t dim = 0;
  int64_t outer = 1;
  graph::ReduceKind reduce = graph::ReduceKind::kSum;

  static AxisState Replicated() { return {}; }
  static AxisState Split(int64_t dim, int64_t outer = 1) { return {Kind::kSplit, dim, outer, {}}; }
  static AxisState Partial(graph::ReduceKind reduce) { return {Kind::kPartial, 0, 1, reduce}; }

  bool replicated() const { return kind == Kind::kReplicated; }
  bool split() const { return kind == Kind::kSplit; }
  bool partial() const { return kind == Kind::kPartial; }
  bool operator==(const AxisState&) const = default;
  std::string ToString() const;  // "replicated", "split(0)", "split(1 of 8x)", "partial(sum)"
};

// Returns the shape of the slice of one chunk. REQUIRES: if `state` is a split, CanSplit is true for it.
std::vector<int64_t> ChunkDims(const std::vector<int64_t>& dims, const AxisState& state, int64_t chunks);
// Returns whether dimension `dim` exists, is not empty, and can be viewed as [outer, chunks, inner].
bool CanSplit(const std::vector<int64_t>& dims, int64_t dim, int64_t outer, int64_t chunks);

}  // namespace alpa::plan
