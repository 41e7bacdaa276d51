#include "worker/measure/profile_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "base/status.h"
#include "cluster/toml/inventory_toml.h"
#include "worker/measure/timing.h"

namespace alpa::worker {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileBytes = 1 << 20;  // size of the largest file that is read
constexpr double kPatience = 60;           // seconds to wait for another worker's measurement, which takes about 2 s
constexpr Duration kPoll = std::chrono::milliseconds(20);  // between two attempts to take the lock

// Returns the FNV-1a hash, which keeps file names short. The first line of a file distinguishes keys with equal hashes.
uint64_t Hash(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }
  int Release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

absl::Status MakeFolder(const std::string& folder) {
  if (folder.empty()) {
    return absl::UnavailableError(
        "there is no folder for measurements: set --cache-dir, XDG_CACHE_HOME or HOME to keep them");
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder)) {
    return absl::UnavailableError(absl::StrCat("cannot create the folder ", folder, ": ", error.message()));
  }
  return absl::OkStatus();
}

// Returns a cluster of one device with this profile and its links.
cluster::Cluster AsCluster(const cluster::NodeProfile& profile) {
  cluster::NodeFacts facts;
  facts.host_key = facts.host_name = "this-machine";
  facts.profile = profile;
  return cluster::Assemble({cluster::Node{"measured", "cpu", 0, {DeviceId(0)}, facts}});
}

absl::Status WriteAll(int descriptor, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return absl::UnavailableError(std::strerror(errno));
    text.remove_prefix(static_cast<size_t>(written));
  }
  return fsync(descriptor) == 0 ? absl::OkStatus() : absl::UnavailableError(std::strerror(errno));
}

}  // namespace

std::string DefaultCacheFolder() {
  // A relative XDG_CACHE_HOME is ignored, because its meaning depends on the working directory.
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return absl::StrCat(cache, "/alpa");
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return absl::StrCat(home, "/.cache/alpa");
  return "";
}

ProfileCache::ProfileCache(std::string folder, std::string key) : folder_(std::move(folder)), key_(std::move(key)) {
  for (char& c : key_) {
    if (static_cast<unsigned char>(c) < ' ' || c == 127) c = ' ';
  }
  if (!folder_.empty()) path_ = absl::StrFormat("%s/measured-%016x.toml", folder_, Hash(key_));
}

std::string ProfileCache::FirstLine() const { return absl::StrCat("# measured: ", key_, "\n"); }

absl::StatusOr<cluster::NodeProfile> ProfileCache::Read() const {
  const Descriptor file(path_.empty() ? -1 : open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || fstat(file.get(), &status) != 0) {
    return absl::NotFoundError(absl::StrCat("there is no file ", path_));
  }
  if (!S_ISREG(status.st_mode) || status.st_size > static_cast<off_t>(kMaxFileBytes)) {
    return absl::DataLossError(absl::StrCat(path_, " is not a regular file of at most 1 MiB"));
  }
  std::string text(static_cast<size_t>(status.st_size), 0);
  if (read(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return absl::DataLossError(absl::StrCat(path_, " cannot be read"));
  }
  if (!absl::StartsWith(text, FirstLine())) {
    return absl::DataLossError(absl::StrCat(path_, " belongs to another machine or other settings"));
  }
  const auto cluster = cluster::ReadInventory(text);
  if (!cluster.ok()) return absl::DataLossError(absl::StrCat(path_, ": ", cluster.status().message()));
  if (cluster->hosts.size() != 1 || cluster->profiles.size() != 1) {
    return absl::DataLossError(absl::StrCat(path_, " does not describe exactly one machine"));
  }
  const cluster::Host& host = cluster->hosts.front();
  cluster::NodeFacts facts;
  facts.host_key = "any";
  facts.profile = {cluster->profiles.front(), host.inside, host.between, host.outside, host.memory_streams, true};
  if (absl::Status sound = cluster::Check(facts); !sound.ok()) {
    return absl::DataLossError(absl::StrCat(path_, ": ", sound.message()));
  }
  return std::move(facts.profile);
}

absl::Status ProfileCache::Write(const cluster::NodeProfile& profile) const {
  ALPA_ASSIGN_OR_RETURN(const std::string text, cluster::WriteInventory(AsCluster(profile)));
  ALPA_RETURN_IF_ERROR(MakeFolder(folder_));
  const std::string temporary = absl::StrCat(path_, ".", getpid());
  absl::Status written;
  {
    const Descriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
    written = file.get() < 0 ? absl::UnavailableError(std::strerror(errno)) : WriteAll(file.get(), FirstLine() + text);
  }
  if (written.ok() && std::rename(temporary.c_str(), path_.c_str()) != 0) {
    written = absl::UnavailableError(std::strerror(errno));
  }
  if (written.ok()) return written;
  unlink(temporary.c_str());
  return Annotate(written, absl::StrCat("writing ", path_));
}

absl::StatusOr<ProfileCache::Lock> ProfileCache::Lock::Take(const ProfileCache& cache, double patience_seconds) {
  ALPA_RETURN_IF_ERROR(MakeFolder(cache.folder_));
  const std::string path = cache.folder_ + "/measure.lock";
  Descriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (file.get() < 0) return absl::UnavailableError(absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  const TimeLimit limit(patience_seconds);
  while (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("cannot lock ", path, ": ", std::strerror(errno)));
    }
    if (limit.left() <= 0) {
      return absl::DeadlineExceededError(
          absl::StrCat("another worker has held the lock ", path, " for ", patience_seconds, " s"));
    }
    std::this_thread::sleep_for(kPoll);
  }
  return Lock(file.Release());
}

ProfileCache::Lock::~Lock() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::StatusOr<Obtained> ObtainProfile(const ProfileCache& cache, bool always,
                                       const std::function<absl::StatusOr<Measured>()>& measure) {
  const TimeLimit from_now(0);
  Obtained out;
  const auto finished = [&](cluster::NodeProfile profile) {
    out.profile = std::move(profile);
    out.seconds = -from_now.left();
    return std::move(out);
  };
  if (!always) {
    if (auto kept = cache.Read(); kept.ok()) return finished(*std::move(kept));
  }
  // The worker measures even without the lock, although another worker may disturb the measurement.
  const auto lock = ProfileCache::Lock::Take(cache, kPatience);
  if (!lock.ok()) out.remarks.emplace_back(lock.status().message());
  if (!always) {
    auto kept = cache.Read();  // another worker may have written the file in the meantime
    if (kept.ok()) return finished(*std::move(kept));
    if (absl::IsDataLoss(kept.status())) {
      out.remarks.push_back(absl::StrCat("measuring again: ", kept.status().message()));
    }
  }
  ALPA_ASSIGN_OR_RETURN(Measured measured, measure());
  out.measured_now = true;
  out.remarks.insert(out.remarks.end(), measured.remarks.begin(), measured.remarks.end());
  if (lock.ok()) {
    if (const absl::Status written = cache.Write(measured.profile); !written.ok()) {
      out.remarks.emplace_back(written.message());
    }
  }
  return finished(std::move(measured.profile));
}

}  // namespace alpa::worker
