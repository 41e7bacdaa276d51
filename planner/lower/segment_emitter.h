// Writes the device program of some consecutive segments of an analysed step (see microbatch/analysis.h): one segment for
// a step with loops over microbatches, all of them in one program for a step without.
//
// Model:   A value can be had in three forms: *whole* (its replicated value, or the truth of a split or partial one),
//          *native* (this chunk's slice or partial sum), and *slices* of a replicated value. A backward sweep finds which
//          forms the wanted outputs need, sinking slices through cheap ops; a forward sweep writes them. What is not
//          computed in these segments becomes a program parameter (an import).
// Numbers: partial sums of 16-bit floats are kept, accumulated and reduced in f32, and rounded once at their truth.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "graph/builder.h"
#include "plan/roles.h"
#include "planner/microbatch/analysis.h"

namespace alpa::planner {

// How the axis of `chunks` = devices x microbatches lies: chunk = device * microbatches + microbatch, so that what a device
// needs of a batch is one tile; or, where each microbatch's own statistics matter, chunk = microbatch * devices + device, so
// that a microbatch is contiguous. Batches are then whole on every device.
struct AxisLayout {
  int64_t devices = 1;
  int64_t microbatches = 1;
  bool microbatch_major = false;
  std::vector<int64_t> mesh_axes;   // that make up `devices`
  int64_t chunks() const { return devices * microbatches; }
};

struct Import {
  enum class Kind : uint8_t {
    kLeaf,         // graph parameter `index`: the device's tile of it
    kFull,        // whole form of value `index`, from an earlier program
    kAccumulated,  // accumulation of value `index` by the loop program just before
    kAccumulator,  // the same, inside that loop program
    kLoopIndex,
  };
  Kind kind = Kind::kLeaf;
  int32_t index = -1;
  auto operator<=>(const Import&) const = default;
};

struct Export {
  enum class Kind : uint8_t {
    kFull,        // for later programs
    kAccumulator,  // of a loop program
    kResult,       // graph result `index`
  };
  Kind kind = Kind::kFull;
  int32_t index = -1;
};

struct SegmentProgram {
  graph::Graph graph;
  std::vector<Import> imports;   // by program parameter
  std::vector<Export> exports;   // by program result
};

// Segment numbers: once t is 2t, loop t is 2t+1.
struct SegmentRequest {
  int first = 0, last = 0;
  std::vector<graph::ValueId> full_values;       // to export
  std::vector<graph::ValueId> accumulate;   // loop programs: natives to accumulate
  bool results = false;                     // the graph's results, all that are not accumulated
};

SegmentProgram EmitSegments(const graph::Graph& program, const plan::Roles& roles, const AxisAnalysis& analysis,
                            const AxisLayout& layout, const SegmentRequest& request);

// Shape of the buffer in which a loop accumulates a value: a partial's own (f32 for 16-bit floats), or the slices of all
// microbatches of a split value, as [.., outer, microbatches, inner, ..] (plain where outer is 1).
graph::Shape AccumulatorShape(const graph::Graph& program, const AxisAnalysis& analysis, const AxisLayout& layout,
                              graph::ValueId value);

}  // namespace alpa::planner
