// PutChunk and GetChunk in their wire form, so that tensor bytes go between the network's memory and device buffers
// without another copy.
//
// Threads: pure functions.
// Errors:  kInvalidArgument for bytes that are not such a message.
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
  std::vector<ByteSpan> data;  // parts of the message's memory, in order
  size_t data_size = 0;
};

// `message` is the serialized PutChunk, in pieces, which must outlive the view. Unknown fields are skipped.
absl::StatusOr<PutChunkView> ParsePutChunk(std::span<const ByteSpan> message);

// What stands before the data of a serialized GetChunk with `size` bytes: at most 11 bytes.
std::string GetChunkHeader(size_t size);

}  // namespace alpa::worker
