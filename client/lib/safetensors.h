// Reads and writes safetensors files, which contain named arrays. A file has three parts: the length of the header (8
// bytes, little-endian), a JSON header {"name": {"dtype", "shape", "data_offsets"}, ...}, and the data. The data is the
// bytes of the arrays, which are row-major and little-endian, without gaps.
//
// Model:     The reader trusts nothing. It checks every length, offset, shape and type in the header against the file
//            before it reads any data.
// Ownership: a tensor's bytes belong to the file object.
// Threads:   any thread may read an open file. Several threads may fill the spans of a writer, but no two threads may
//            write the same byte.
// Errors:    kInvalidArgument, which names the file and the fault, if the file is damaged. kNotFound if the file does
//            not exist.
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

inline constexpr Bytes kMaxSafetensorsHeader = 100 * kMiB;  // maximum bytes of the JSON header

struct TensorEntry {
  graph::Shape shape;
  Bytes begin = 0, end = 0;  // offsets from the beginning of the data
};
struct SafetensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  Bytes data_begin = 0;  // offset of the data in the file
};
// Checks and reads the header. `file` is the content of the file. The message of an error does not name the file.
absl::StatusOr<SafetensorsHeader> ParseSafetensors(std::span<const uint8_t> file);

class SafetensorsFile {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);

  const std::map<std::string, TensorEntry>& tensors() const { return header_.tensors; }
  const std::string& path() const { return file_->path(); }
  // Returns the bytes of one tensor. REQUIRES: `entry` is one of this file's tensors().
  std::span<const uint8_t> bytes(const TensorEntry& entry) const;

 private:
  std::unique_ptr<MappedFile> file_;
  SafetensorsHeader header_;
};

// Writes a file of tensors with known shapes. The caller fills the tensors in place.
class SafetensorsWriter {
 public:
  // REQUIRES: names are distinct.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(const std::string& path,
                                                                   const std::vector<std::string>& names,
                                                                   const std::vector<graph::Shape>& shapes);
  std::span<uint8_t> bytes(size_t tensor) { return spans_[tensor]; }
  // Makes the file appear under its name. Without Commit, no file appears.
  absl::Status Commit() { return file_->Commit(); }

 private:
  std::unique_ptr<NewFile> file_;
  std::vector<std::span<uint8_t>> spans_;
};

}  // namespace alpa::client
