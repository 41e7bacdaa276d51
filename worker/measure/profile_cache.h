// Keeps the measurements of this machine between starts of its workers.
//
// Model:   the user's cache folder has one file per key. Each file describes a cluster of one device in TOML
//          (docs/clusters.md). The first line of the file is the key. A file that cannot be read, or that has another
//          key, counts as missing. If several workers start at the same time, one measures, and the others wait for its
//          file.
// Threads: thread-compatible. A file lock excludes other processes. The lock ends with the process that holds it.
// Errors:  if the folder cannot be used, each start measures, and Obtained::remarks reports the error.
// Start at: ObtainProfile.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "cluster/node.h"
#include "worker/measure/measure.h"

namespace alpa::worker {

// Returns $XDG_CACHE_HOME/alpa or ~/.cache/alpa, or an empty string if neither is known.
std::string DefaultCacheFolder();

class ProfileCache {
 public:
  // `key` is one line, which contains everything on which the numbers depend. If `folder` is empty, nothing is kept.
  ProfileCache(std::string folder, std::string key);

  const std::string& path() const { return path_; }
  // kNotFound if there is no file. kDataLoss if the file has another key or is damaged.
  absl::StatusOr<cluster::NodeProfile> Read() const;
  // Replaces the file in one step, or leaves it unchanged and returns an error. Creates the folder if needed.
  absl::Status Write(const cluster::NodeProfile& profile) const;

  // A lock on the folder, held until the object is destroyed. The lock covers all keys, because two measurements at the
  // same time would disturb each other.
  class Lock {
   public:
    // Waits for the lock. kDeadlineExceeded if another process still holds it after `patience_seconds`. kUnavailable if
    // the folder cannot be used.
    static absl::StatusOr<Lock> Take(const ProfileCache& cache, double patience_seconds);
    Lock(Lock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    Lock& operator=(Lock&&) = delete;
    ~Lock();

   private:
    explicit Lock(int descriptor) : descriptor_(descriptor) {}
    int descriptor_;
  };

 private:
  std::string FirstLine() const;
  std::string folder_, key_, path_;
};

struct Obtained {
  cluster::NodeProfile profile;
  bool measured_now = false;
  double seconds = 0;                // spent, including the wait for other workers
  std::vector<std::string> remarks;  // for the operator
};

// Returns the profile in the cache. If the cache has no profile, or if `always` is set, calls `measure` and keeps its
// result. Errors are those of `measure`.
absl::StatusOr<Obtained> ObtainProfile(const ProfileCache& cache, bool always,
                                       const std::function<absl::StatusOr<Measured>()>& measure);

}  // namespace alpa::worker
