// The messages that one device sends or receives each time that the array of an edge is sent, and their places in the
// device's tile.
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
  // If `direct`, the part is contiguous in the tile's buffer, and `offset` is an offset in that buffer. Otherwise
  // `offset` is an offset in the staging memory.
  bool direct = false;
  Bytes offset = 0;
  plan::BoxWalk walk;     // in the terms of BoxWalk, the message is the stream and the buffer is the tile
};

struct EdgeParts {
  std::vector<EdgePart> parts;   // in the order in which both sides start them
  Bytes staging_bytes = 0;       // for all parts that are not direct
  bool any_direct = false;
  // The tile does not fill its buffer, so the buffer must be zeroed before a receive.
  bool short_tile = false;
};

// Returns the messages of `device` over `edge`. REQUIRES: the device's mesh is one of the edge's two meshes.
EdgeParts PartsOf(const plan::Executable& executable, const JobLayout& layout, const LocalDevice& device,
                  const plan::Edge& edge);

}  // namespace alpa::worker
