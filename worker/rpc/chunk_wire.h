// Reads PutChunk and writes GetChunk in their wire format. Tensor bytes can then move between network buffers and
// device buffers without an extra copy.
//
// Threads: pure functions.
// Errors:  kInvalidArgument if the bytes are not a PutChunk.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace alpa::worker {

using ByteSpan = std::span<const std::byte>;

struct PutChunkView {
  bool has_ref = false;
  std::string ref;             // serialized LeafRef
  std::vector<ByteSpan> data;  // pieces of the message's memory, in order
  size_t data_size = 0;        // in bytes
};

// Parses a serialized PutChunk, given in pieces. The pieces must outlive the view. Unknown fields are skipped.
absl::StatusOr<PutChunkView> ParsePutChunk(std::span<const ByteSpan> message);

// Returns the bytes that precede the data in a serialized GetChunk with `size` bytes of data. The result has at most 11
// bytes.
std::string GetChunkHeader(size_t size);

}  // namespace alpa::worker
