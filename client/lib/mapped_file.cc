#include "client/lib/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/status.h"

namespace alpa::client {
namespace {

absl::Status Failed(absl::string_view doing, absl::string_view path) {
  const int error = errno;
  const std::string message = absl::StrCat(doing, " ", path, ": ", std::strerror(error));
  return error == ENOENT ? absl::NotFoundError(message) : absl::FailedPreconditionError(message);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return Failed("opening", path);
  std::unique_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  struct stat info;
  absl::Status status;
  if (fstat(fd, &info) != 0) {
    status = Failed("reading the size of", path);
  } else if (!S_ISREG(info.st_mode)) {
    status = absl::FailedPreconditionError(absl::StrCat(path, " is not a regular file"));
  } else if (info.st_size > 0) {
    void* data = mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      status = Failed("mapping", path);
    } else {
      file->data_ = static_cast<const uint8_t*>(data);
      file->size_ = info.st_size;
    }
  }
  close(fd);
  if (!status.ok()) return status;
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), size_);
}

absl::StatusOr<std::unique_ptr<NewFile>> NewFile::Create(const std::string& path, Bytes size) {
  std::unique_ptr<NewFile> file(new NewFile);
  file->path_ = path;
  file->temporary_ = absl::StrCat(path, ".tmp.", getpid());
  file->size_ = size;
  file->fd_ = open(file->temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file->fd_ < 0) return Failed("creating", file->temporary_);
  if (size == 0) return file;
  // Reserves the space on the disk now, so that a full disk is an error here. Otherwise a later write would raise
  // SIGBUS.
  if (const int error = posix_fallocate(file->fd_, 0, size); error != 0) {
    errno = error;
    return Failed(absl::StrCat("reserving ", size, " bytes for"), path);
  }
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd_, 0);
  if (data == MAP_FAILED) return Failed("mapping", file->temporary_);
  file->data_ = static_cast<uint8_t*>(data);
  return file;
}

NewFile::~NewFile() {
  if (data_ != nullptr) munmap(data_, size_);
  if (fd_ >= 0) close(fd_);
  if (fd_ >= 0 && !committed_) unlink(temporary_.c_str());
}

absl::Status NewFile::Commit() {
  if (data_ != nullptr && msync(data_, size_, MS_SYNC) != 0) return Failed("writing", path_);
  if (fsync(fd_) != 0) return Failed("writing", path_);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return Failed("renaming into", path_);
  committed_ = true;
  return absl::OkStatus();
}

absl::Status CommitFile(const std::string& temporary, const std::string& path) {
  const int fd = open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Failed("opening", temporary);
  absl::Status status;
  if (fsync(fd) != 0) status = Failed("writing", temporary);
  close(fd);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = Failed("renaming into", path);
  return status;
}

}  // namespace alpa::client
