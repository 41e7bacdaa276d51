#include "coordinator/store/program_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/status.h"
#include "base/units.h"

namespace alpa::coordinator {
namespace {

constexpr int64_t kMaxProgramBytes = 2 * kGiB;  // maximum size of one program
constexpr size_t kReadBytes = 1 << 20;          // maximum size of one read

int64_t SizeOfFile(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<int64_t>(info.st_size) : -1;
}

class File {
 public:
  File(const std::string& path, int flags) : path_(path), fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool ok() const { return fd_ >= 0; }
  absl::Status Error(absl::string_view doing) const {
    return absl::UnavailableError(absl::StrCat("cannot ", doing, " ", path_, ": ", std::strerror(errno)));
  }
  absl::Status Write(absl::string_view data) {
    while (!data.empty()) {
      const ssize_t n = write(fd_, data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return Error("write");
      data.remove_prefix(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }
  // Reads the file to its end and calls `take` with each part that it has read.
  template <typename Take>
  absl::Status ReadAll(Take take) {
    std::vector<char> buffer(kReadBytes);
    for (;;) {
      const ssize_t n = read(fd_, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error("read");
      if (n == 0) return absl::OkStatus();
      take(absl::string_view(buffer.data(), static_cast<size_t>(n)));
    }
  }
  absl::Status Sync() { return fsync(fd_) == 0 ? absl::OkStatus() : Error("sync"); }

 private:
  const std::string path_;
  const int fd_;
};

absl::Status CheckSize(int64_t total_size) {
  if (total_size < 1) return InvalidArgument("the program has %d bytes; at least 1 is required", total_size);
  if (total_size > kMaxProgramBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the program has ", total_size, " bytes; the limit is ", kMaxProgramBytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ProgramStore>> ProgramStore::Open(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return absl::UnavailableError(absl::StrCat("cannot create ", directory, ": ", error.message()));
  return std::unique_ptr<ProgramStore>(new ProgramStore(directory));
}

std::string ProgramStore::Path(uint64_t hash) const { return absl::StrFormat("%s/%016x", directory_, hash); }

absl::StatusOr<int64_t> ProgramStore::Received(uint64_t hash, int64_t total_size) {
  ALPA_RETURN_IF_ERROR(CheckSize(total_size));
  MutexLock lock(mutex_);
  if (SizeOfFile(Path(hash)) == total_size) return total_size;
  return std::max<int64_t>(0, SizeOfFile(Path(hash) + ".part"));
}

absl::StatusOr<int64_t> ProgramStore::Append(uint64_t hash, int64_t total_size, int64_t offset,
                                             absl::string_view data) {
  ALPA_RETURN_IF_ERROR(CheckSize(total_size));
  MutexLock lock(mutex_);
  if (SizeOfFile(Path(hash)) == total_size) return total_size;
  const std::string part = Path(hash) + ".part";
  const int64_t have = std::max<int64_t>(0, SizeOfFile(part));
  const auto size = static_cast<int64_t>(data.size());
  if (offset < 0 || offset > have) {
    return InvalidArgument("the chunk starts at byte %d, but %d bytes of the program are stored; continue there",
                           offset, have);
  }
  if (size > total_size - offset || have > total_size) {
    (void)std::remove(part.c_str());
    return InvalidArgument("the chunks hold more than the announced %d bytes; upload the program again", total_size);
  }
  if (offset + size > have) {
    File file(part, O_WRONLY | O_APPEND | O_CREAT);
    if (!file.ok()) return file.Error("open");
    ALPA_RETURN_IF_ERROR(file.Write(data.substr(static_cast<size_t>(have - offset))));
  }
  const int64_t now = std::max(have, offset + size);
  if (now == total_size) ALPA_RETURN_IF_ERROR(Complete(hash, part));
  return now;
}

absl::Status ProgramStore::Complete(uint64_t hash, const std::string& part) {
  {
    File file(part, O_RDONLY);
    if (!file.ok()) return file.Error("open");
    const std::unique_ptr<XXH64_state_t, decltype(&XXH64_freeState)> state(XXH64_createState(), XXH64_freeState);
    XXH64_reset(state.get(), 0);
    ALPA_RETURN_IF_ERROR(
        file.ReadAll([&](absl::string_view bytes) { XXH64_update(state.get(), bytes.data(), bytes.size()); }));
    if (XXH64_digest(state.get()) != hash) {
      (void)std::remove(part.c_str());
      return InvalidArgument("the program's bytes do not have the announced hash %016x; upload the program again",
                             hash);
    }
    ALPA_RETURN_IF_ERROR(file.Sync());
  }
  if (std::rename(part.c_str(), Path(hash).c_str()) != 0) return absl::UnavailableError("cannot rename " + part);
  File directory(directory_, O_RDONLY | O_DIRECTORY);
  if (!directory.ok()) return directory.Error("open");
  return directory.Sync();
}

absl::StatusOr<std::string> ProgramStore::Read(uint64_t hash) {
  MutexLock lock(mutex_);
  const int64_t size = SizeOfFile(Path(hash));
  if (size < 0) return absl::NotFoundError(absl::StrFormat("program %016x has not been uploaded completely", hash));
  File file(Path(hash), O_RDONLY);
  if (!file.ok()) return file.Error("open");
  std::string bytes;
  bytes.reserve(static_cast<size_t>(size));
  ALPA_RETURN_IF_ERROR(file.ReadAll([&](absl::string_view part) { bytes.append(part.data(), part.size()); }));
  return bytes;
}

}  // namespace alpa::coordinator
