// Named arrays in one file, in the safetensors format: an 8-byte little-endian header length, a JSON header
// {"name": {"dtype", "shape", "data_offsets"}, ...}, and the arrays' bytes, row-major and little-endian, without gaps.
//
// Model:     a reader that believes nothing: every length, offset, shape and type in the header is checked against the
//            file before a byte of data is looked at.
// Ownership: a tensor's bytes belong to the file object.
// Threads:   a file that was opened may be read from any thread; a writer's spans may be filled from any threads, each
//            byte by one.
// Errors:    kInvalidArgument naming the file and what is wrong with it; kNotFound where there is no file.
// Start at:  SafetensorsFile::Open, SafetensorsWriter::Create.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/lib/mapped_file.h"
#include "graph/shape.h"

namespace alpa::client {

inline constexpr Bytes kMaxSafetensorsHeader = 100 * kMiB;

struct TensorEntry {
  graph::Shape shape;
  Bytes begin = 0, end = 0;  // in the data part
};
struct SafetensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  Bytes data_begin = 0;  // in the file
};
// Checks and reads the header of a file's content. Messages do not name the file.
absl::StatusOr<SafetensorsHeader> ParseSafetensors(std::span<const uint8_t> file);

class SafetensorsFile {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);

  const std::map<std::string, TensorEntry>& tensors() const { return header_.tensors; }
  const std::string& path() const { return file_->path(); }
  // REQUIRES: `entry` is of this file.
  std::span<const uint8_t> bytes(const TensorEntry& entry) const;

 private:
  std::unique_ptr<MappedFile> file_;
  SafetensorsHeader header_;
};

// Writes a file of known shapes whose contents are filled in place.
class SafetensorsWriter {
 public:
  // REQUIRES: names are distinct.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(const std::string& path,
                                                                   const std::vector<std::string>& names,
                                                                   const std::vector<graph::Shape>& shapes);
  std::span<uint8_t> bytes(size_t tensor) { return spans_[tensor]; }
  // The file appears under its name. Without it nothing does.
  absl::Status Commit() { return file_->Commit(); }

 private:
  std::unique_ptr<NewFile> file_;
  std::vector<std::span<uint8_t>> spans_;
};

}  // namespace alpa::client
