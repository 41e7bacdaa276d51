#include "worker/rpc/chunk_wire.h"

#include <algorithm>

#include "base/status.h"

namespace alpa::worker {
namespace {

constexpr uint32_t kRefField = 1, kDataField = 2;
constexpr uint32_t kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5;
// Size of the largest accepted serialized LeafRef, in bytes.
constexpr size_t kMaxRefBytes = 64 * 1024;

// Reads the pieces of a message as one sequence of bytes.
class Reader {
 public:
  explicit Reader(std::span<const ByteSpan> pieces) : pieces_(pieces) {
    for (ByteSpan piece : pieces) left_ += piece.size();
  }
  size_t left() const { return left_; }

  // Reads a varint. Returns false if the bytes end early or do not form a varint.
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (left_ == 0) return false;
      const uint64_t byte = static_cast<uint64_t>(Take(1)[0]);
      *value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  // Calls visit(ByteSpan) for the next `size` bytes. REQUIRES: size <= left().
  template <typename Visit>
  void Bytes(size_t size, Visit&& visit) {
    while (size > 0) {
      const ByteSpan part = Take(size);
      visit(part);
      size -= part.size();
    }
  }

 private:
  // Returns the longest contiguous part of the next `most` bytes; never empty. REQUIRES: left() > 0 and most > 0.
  ByteSpan Take(size_t most) {
    while (at_ == pieces_[piece_].size()) ++piece_, at_ = 0;
    const ByteSpan part = pieces_[piece_].subspan(at_, std::min(most, pieces_[piece_].size() - at_));
    at_ += part.size();
    left_ -= part.size();
    return part;
  }

  std::span<const ByteSpan> pieces_;
  size_t piece_ = 0, at_ = 0, left_ = 0;
};

}  // namespace

absl::StatusOr<PutChunkView> ParsePutChunk(std::span<const ByteSpan> message) {
  const auto broken = [] { return absl::InvalidArgumentError("cannot parse a PutChunk message"); };
  PutChunkView view;
  bool has_data = false;
  Reader reader(message);
  while (reader.left() > 0) {
    uint64_t key = 0, size = 0;
    if (!reader.Varint(&key)) return broken();
    switch (key & 7) {
      case kVarint:
        if (!reader.Varint(&size)) return broken();
        continue;
      case kFixed64: size = 8; break;
      case kFixed32: size = 4; break;
      case kLength:
        if (!reader.Varint(&size)) return broken();
        break;
      default: return broken();
    }
    if (size > reader.left()) return broken();
    const uint64_t field = (key & 7) == kLength ? key >> 3 : 0;
    if (field == kRefField) {
      if (size > kMaxRefBytes) return InvalidArgument("the LeafRef has %d bytes; at most 65536 are allowed", size);
      view.has_ref = true;  // merges repeated fields, like protobuf
      reader.Bytes(size, [&](ByteSpan part) {
        view.ref.append(reinterpret_cast<const char*>(part.data()), part.size());
      });
    } else if (field == kDataField) {
      if (has_data) return InvalidArgument("a PutChunk has its data field twice");
      has_data = true;
      view.data_size = size;
      reader.Bytes(size, [&](ByteSpan part) { view.data.push_back(part); });
    } else {
      reader.Bytes(size, [](ByteSpan) {});
    }
  }
  return view;
}

std::string GetChunkHeader(size_t size) {
  std::string header(1, '\x0a');  // field 1, length-delimited
  for (; size >= 0x80; size >>= 7) header.push_back(static_cast<char>((size & 0x7f) | 0x80));
  header.push_back(static_cast<char>(size));
  return header;
}

}  // namespace alpa::worker
