// Uploaded programs on disk, by hash: `DIR/<hash>` when whole, `DIR/<hash>.part` until then. An upload that broke goes on
// where it stopped, also after a restart.
//
// Threads: thread-safe.
// Errors:  kInvalidArgument for chunks that do not fit together or a wrong hash (what arrived is then dropped);
//          kResourceExhausted beyond the size limit; kNotFound.
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
  // Appends a chunk at `offset`, which must be where the last one ended; returns the bytes received.
  absl::StatusOr<int64_t> Append(uint64_t hash, int64_t total_size, int64_t offset, absl::string_view data);
  absl::StatusOr<std::string> Read(uint64_t hash);

 private:
  explicit ProgramStore(std::string directory) : directory_(std::move(directory)) {}
  std::string Path(uint64_t hash) const;

  const std::string directory_;
  Mutex mutex_;
};

}  // namespace alpa::coordinator
