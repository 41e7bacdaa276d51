// Allocates memory on this worker's devices, counts the bytes in use, and refuses requests that would exceed the limit.
//
// Ownership: allocations and shares must be destroyed before the DeviceMemory and its backend.
// Threads:   thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/units.h"
#include "kernels/backend.h"

namespace alpa::worker {

class DeviceMemory {
 public:
  // `limit` is in bytes per device. 0 means no limit.
  DeviceMemory(kernels::Backend& backend, Bytes limit);

  // Bytes that count as used until this object is destroyed.
  class Share {
   public:
    Share() = default;
    Share(std::atomic<Bytes>* used, Bytes bytes) : used_(used), bytes_(bytes) {}
    Share(Share&& other) noexcept : used_(std::exchange(other.used_, nullptr)), bytes_(other.bytes_) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(used_, other.used_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Share() {
      if (used_ != nullptr) *used_ -= bytes_;
    }

   private:
    std::atomic<Bytes>* used_ = nullptr;
    Bytes bytes_ = 0;
  };

  // A device buffer together with its share.
  class Allocation {
   public:
    Allocation(std::unique_ptr<kernels::Buffer> buffer, Share share)
        : share_(std::move(share)), buffer_(std::move(buffer)) {}
    kernels::Buffer& buffer() { return *buffer_; }

   private:
    Share share_;
    std::unique_ptr<kernels::Buffer> buffer_;
  };

  // kResourceExhausted if the limit would be exceeded. The message reports the bytes that were requested, are in use,
  // and are allowed.
  absl::StatusOr<std::unique_ptr<Allocation>> Allocate(int device, Bytes size);
  // Counts memory that another object holds, such as a program's temporaries. Errors as in Allocate.
  absl::StatusOr<Share> Reserve(int device, Bytes size);
  Bytes in_use(int device) const { return used_[device].load(); }
  Bytes limit() const { return limit_; }

 private:
  kernels::Backend& backend_;
  const Bytes limit_;
  std::vector<std::atomic<Bytes>> used_;  // one entry per device
};

}  // namespace alpa::worker
