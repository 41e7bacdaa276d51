// Maps files into memory: existing files to read them, and new files to fill them in place.
//
// Ownership: a mapping lasts as long as its object. Spans into the mapping must not outlive the object.
// Threads:   any thread may use the spans. The objects themselves are not thread-safe.
// Errors:    kNotFound if the file does not exist, kFailedPrecondition for other system errors. Each error names the
//            path. If a file is truncated while it is mapped, a read of the missing part ends the process with SIGBUS.
//            So do not truncate the files of a job.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/units.h"

namespace alpa::client {

// An existing file, mapped for reading.
class MappedFile {
 public:
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data_, static_cast<size_t>(size_)}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile() = default;
  std::string path_;
  const uint8_t* data_ = nullptr;
  Bytes size_ = 0;
};

// A new file that appears under its name only when it is complete. Until then, its name is "PATH.tmp.PID". Commit syncs
// the file and renames it. Without Commit, the destructor removes the file.
class NewFile {
 public:
  // Creates a file of exactly `size` zero bytes. If the disk has too little space, fails with kFailedPrecondition.
  static absl::StatusOr<std::unique_ptr<NewFile>> Create(const std::string& path, Bytes size);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  std::span<uint8_t> bytes() { return {data_, static_cast<size_t>(size_)}; }
  absl::Status Commit();

 private:
  NewFile() = default;
  std::string path_, temporary_;
  int fd_ = -1;
  uint8_t* data_ = nullptr;
  Bytes size_ = 0;
  bool committed_ = false;
};

// Syncs the file `temporary` and renames it to `path`.
absl::Status CommitFile(const std::string& temporary, const std::string& path);

}  // namespace alpa::client
