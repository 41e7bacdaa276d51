#include "coordinator/store/program_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/status.h"
#include "base/units.h"

namespace alpa::coordinator {
namespace {

constexpr int64_t kMaxProgramBytes = 2 * kGiB;

int64_t SizeOfFile(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<int64_t>(info.st_size) : -1;
}

absl::Status SyncPath(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) close(fd);
    return absl::UnavailableError(absl::StrCat("cannot sync ", path, ": ", why));
  }
  close(fd);
  return absl::OkStatus();
}

std::string ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

absl::Status CheckSize(int64_t total_size) {
  if (total_size < 1) return InvalidArgument("a program of %d bytes", total_size);
  if (total_size > kMaxProgramBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("a program of ", total_size, " bytes; the limit is ", kMaxProgramBytes));
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

absl::StatusOr<int64_t> ProgramStore::Append(uint64_t hash, int64_t total_size, int64_t offset, absl::string_view data) {
  ALPA_RETURN_IF_ERROR(CheckSize(total_size));
  MutexLock lock(mutex_);
  if (SizeOfFile(Path(hash)) == total_size) return total_size;
  const std::string part = Path(hash) + ".part";
  const int64_t have = std::max<int64_t>(0, SizeOfFile(part));
  if (offset != have) return InvalidArgument("a chunk at offset %d of a program of which %d bytes are here", offset, have);
  if (static_cast<int64_t>(data.size()) > total_size - have) {
    (void)std::remove(part.c_str());
    return InvalidArgument("chunks make more than the %d bytes that were announced", total_size);
  }
  {
    std::ofstream out(part, std::ios::binary | std::ios::app);
    out.write(data.data(), static_cast<std::streamsize>(data.size()));
    out.flush();
    if (!out) return absl::UnavailableError(absl::StrCat("cannot write ", part));
  }
  const int64_t now = have + static_cast<int64_t>(data.size());
  if (now < total_size) return now;
  const std::string whole = ReadWhole(part);
  if (XXH64(whole.data(), whole.size(), 0) != hash) {
    (void)std::remove(part.c_str());
    return InvalidArgument("the program's bytes do not have the hash %016x that was announced; upload it again", hash);
  }
  ALPA_RETURN_IF_ERROR(SyncPath(part));
  if (std::rename(part.c_str(), Path(hash).c_str()) != 0) return absl::UnavailableError("cannot rename " + part);
  ALPA_RETURN_IF_ERROR(SyncPath(directory_));
  return now;
}

absl::StatusOr<std::string> ProgramStore::Read(uint64_t hash) {
  MutexLock lock(mutex_);
  if (SizeOfFile(Path(hash)) < 0) {
    return absl::NotFoundError(absl::StrFormat("program %016x has not been uploaded whole", hash));
  }
  return ReadWhole(Path(hash));
}

}  // namespace alpa::coordinator
