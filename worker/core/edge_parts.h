// What one device sends or receives over an edge in one round, and where in its tile that lies.
//
// Threads: value types.
#pragma once

#include <vector>

#include "plan/box.h"
#include "plan/executable.h"
#include "worker/core/job_layout.h"

namespace alpa::worker {

// One message.
struct EdgePart {
  int peer = -1;          // rank
  Bytes size = 0;
  // Within the tile's buffer where the part is contiguous there, and else within the staging memory.
  bool direct = false;
  Bytes offset = 0;
  plan::BoxWalk walk;     // stream: the message; tile: the buffer
};

struct EdgeParts {
  std::vector<EdgePart> parts;   // in the order in which both sides start them
  Bytes staging_bytes = 0;       // for all that are not direct
  bool any_direct = false;
  // The tile does not fill its buffer: before a receive the rest is to be zeroed.
  bool short_tile = false;
};

// REQUIRES: the device's mesh is one of the edge's two.
EdgeParts PartsOf(const plan::Executable& executable, const JobLayout& layout, const LocalDevice& device,
                  const plan::Edge& edge);

}  // namespace alpa::worker
