// Writes the stage program of consecutive segments of an analysed step (microbatch/analysis.h). A step with loops over
// microbatches has one program per segment. A step without loops has one program for all segments.
//
// Model:   A value has up to three forms: *whole* (its replicated value, or the full value of a split or partial one),
//          *native* (this chunk's slice or partial sum), and *slices* of a replicated value. A backward sweep finds the
//          forms that the requested outputs need, and moves slices in front of cheap ops. A forward sweep writes these
//          forms. A needed form that these segments do not compute becomes a program parameter (an import).
// Numbers: Partial sums of 16-bit floats are stored, accumulated and reduced in f32. They are rounded once, when their
//          reduced value is complete.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "graph/builder.h"
#include "plan/roles.h"
#include "planner/microbatch/analysis.h"

namespace alpa::planner {

// Defines how the chunks are numbered. There are `devices * microbatches` chunks. By default, the number of a chunk is
// `device * microbatches + microbatch`, so each device needs one contiguous tile of the batch. If each microbatch has
// its own statistics (`microbatch_major`), the number is `microbatch * devices + device`, so each microbatch is
// contiguous. In this case, every device holds the full batch.
struct AxisLayout {
  int64_t devices = 1;
  int64_t microbatches = 1;
  bool microbatch_major = false;
  std::vector<int64_t> mesh_axes;   // the mesh axes along which these devices lie
  int64_t chunks() const { return devices * microbatches; }
};

struct Import {
  enum class Kind : uint8_t {
    kLeaf,         // the device's tile of graph parameter `index`
    kFull,         // the whole form of value `index`, from an earlier program
    kAccumulated,  // the accumulated value `index`, from the loop program just before
    kAccumulator,  // the accumulator of value `index`, in the loop program that adds to it
    kLoopIndex,    // the number of the current microbatch
  };
  Kind kind = Kind::kLeaf;
  int32_t index = -1;
  auto operator<=>(const Import&) const = default;
};

struct Export {
  enum class Kind : uint8_t {
    kFull,         // the whole form of value `index`, for later programs
    kAccumulator,  // the accumulator of value `index`, from a loop program
    kResult,       // graph result `index`
  };
  Kind kind = Kind::kFull;
  int32_t index = -1;
};

struct SegmentProgram {
  graph::Graph graph;
  std::vector<Import> imports;   // one entry per program parameter
  std::vector<Export> exports;   // one entry per program result
};

// Requests the program of segments `first` to `last`. Segment `2t` is the once segment `t`. Segment `2t+1` is the loop
// segment `t`.
struct SegmentRequest {
  int first = 0, last = 0;
  std::vector<graph::ValueId> full_values;  // values to export in whole form
  std::vector<graph::ValueId> accumulate;   // only for a loop program: the values whose native form it accumulates
  bool results = false;                     // whether to export the graph's results, except those that a loop writes
};

// Returns the stage program that `request` describes.
SegmentProgram EmitSegments(const graph::Graph& program, const plan::Roles& roles, const AxisAnalysis& analysis,
                            const AxisLayout& layout, const SegmentRequest& request);

// Returns the shape of the buffer in which a loop accumulates a value. A partial value keeps its shape (f32 for 16-bit
// floats). The buffer of a split value holds the slices of all microbatches, as [.., outer, microbatches, inner, ..].
// If `outer` is 1, the dimensions `outer`, `microbatches` and `inner` form a single dimension.
graph::Shape AccumulatorShape(const graph::Graph& program, const AxisAnalysis& analysis, const AxisLayout& layout,
                              graph::ValueId value);

}  // namespace alpa::planner
