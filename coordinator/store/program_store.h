// Uploaded programs on disk. The file of a program is named after its hash: `DIR/<hash>.part` until the program is
// complete, and `DIR/<hash>` afterwards. An interrupted upload continues where it stopped, even after a restart. Two
// clients may upload the same program at once.
//
// Threads: thread-safe; calls block on the disk.
// Errors:  kInvalidArgument for an empty program, for a chunk that leaves a gap, for more bytes than announced and for
//          a wrong hash. In the last two cases the store drops the received bytes. kResourceExhausted if the program is
//          larger than 2 GiB. kUnavailable if the disk fails.
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
  // Creates the folder if it does not exist. Returns kUnavailable if creating it fails.
  static absl::StatusOr<std::unique_ptr<ProgramStore>> Open(const std::string& directory);

  // Returns the number of stored bytes. It is `total_size` if the program is complete.
  absl::StatusOr<int64_t> Received(uint64_t hash, int64_t total_size);
  // Adds a chunk that starts at byte `offset` of the program. Skips bytes of the chunk that are already stored.
  // `offset` may be at most the number of stored bytes. Returns the number of bytes that are stored after this call.
  // The result `total_size` means that the program is complete, has the announced hash, and is safe on disk.
  absl::StatusOr<int64_t> Append(uint64_t hash, int64_t total_size, int64_t offset, absl::string_view data);
  // Returns a complete program, or kNotFound if no complete program has this hash.
  absl::StatusOr<std::string> Read(uint64_t hash);

 private:
  explicit ProgramStore(std::string directory) : directory_(std::move(directory)) {}
  std::string Path(uint64_t hash) const;
  absl::Status Complete(uint64_t hash, const std::string& part);

  const std::string directory_;
  Mutex mutex_;  // guards the files
};

}  // namespace alpa::coordinator
