// Measurements of this machine, kept between starts.
//
// Model:   one file a key, in a folder of the user's: a cluster of one device as TOML (docs/clusters.md), whose first line says
//          what it is of. What cannot be read, or is of something else, counts as not there. Of workers that start at one time
//          one measures, the others wait for what it writes.
// Threads: thread-compatible; processes are kept apart by a lock on a file, which ends with its holder.
// Errors:  a folder that cannot be used costs a measurement at each start, and is told in Obtained::remarks.
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

// $XDG_CACHE_HOME/alpa or ~/.cache/alpa. Empty: neither is known.
std::string DefaultCacheFolder();

class ProfileCache {
 public:
  // `key`: all that the numbers depend on, on one line. An empty folder keeps nothing.
  ProfileCache(std::string folder, std::string key);

  const std::string& path() const { return path_; }
  // kNotFound: there is no file. kDataLoss: there is, and it is not of this key, or damaged.
  absl::StatusOr<cluster::NodeProfile> Read() const;
  // Replaces the file as a whole, or leaves it as it was. Makes the folder.
  absl::Status Write(const cluster::NodeProfile& profile) const;

  // Held until it is destroyed, also against other keys of the folder: two that measure would disturb each other.
  class Lock {
   public:
    // kDeadlineExceeded: another process holds it for so long. kUnavailable: the folder cannot be used.
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
  double seconds = 0;                // that it took, waiting for others included
  std::vector<std::string> remarks;  // for the operator
};

// From the cache, else (or where `anew`) from `measure`, whose result is then kept. Errors are those of `measure`.
absl::StatusOr<Obtained> ObtainProfile(const ProfileCache& cache, bool anew, const std::function<absl::StatusOr<Measured>()>& measure);

}  // namespace alpa::worker
