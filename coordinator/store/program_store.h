// Uploaded programs on disk, by hash: `DIR/<hash>` when whole, `DIR/<hash>.part` until then. An upload that broke goes
// on where it stopped, also after a restart, and two clients may upload the same program at once.
//
// Threads: thread-safe; calls block on the disk.
// Errors:  kInvalidArgument for chunks that leave a gap or a wrong hash (what arrived is then dropped);
//          kResourceExhausted beyond the size limit; kUnavailable where the disk fails; kNotFound.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"

namespace alpa::coordinator {

class ProgramStore {
 public:
  // Creates the folder. kUnavailable where that fails.
  static absl::StatusOr<std::unique_ptr<ProgramStore>> Open(const std::string& directory);

  // Bytes that are here: total_size when the program is whole.
  absl::StatusOr<int64_t> Received(uint64_t hash, int64_t total_size);
  // Adds a chunk at `offset`, at most where the last one ended: what is here already is skipped. Returns the bytes
  // received; total_size once the program is whole, has the hash, and is safe on disk.
  absl::StatusOr<int64_t> Append(uint64_t hash, int64_t total_size, int64_t offset, absl::string_view data);
  absl::StatusOr<std::string> Read(uint64_t hash);

 private:
  explicit ProgramStore(std::string directory) : directory_(std::move(directory)) {}
  std::string Path(uint64_t hash) const;
  absl::Status Complete(uint64_t hash, const std::string& part);

  const std::string directory_;
  Mutex mutex_;  // of the files
};

}  // namespace alpa::coordinator
