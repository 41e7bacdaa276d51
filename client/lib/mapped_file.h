// Files in memory, without reading or writing them as a whole.
//
// Ownership: the mapping lasts as long as the object; spans into it must not outlive it.
// Threads:   spans may be used from any thread; the objects themselves are not thread-safe.
// Errors:    kNotFound where the file is not there, kFailedPrecondition for other refusals of the system; each names
// the
//            path. A file that shrinks while it is mapped kills the reader (SIGBUS): do not truncate a job's files.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/units.h"

namespace alpa::client {

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

// A file that appears under its name only when it is complete: written as "PATH.tmp.PID", synced, then renamed. A file
// that is not committed is removed by the destructor.
class NewFile {
 public:
  // Zeroed, of exactly `size` bytes. kFailedPrecondition also where the disk lacks the room.
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

// What was written as `temporary` appears as `path`, synced.
absl::Status CommitFile(const std::string& temporary, const std::string& path);

}  // namespace alpa::client
