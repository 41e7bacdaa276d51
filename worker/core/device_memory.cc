#include "worker/core/device_memory.h"

#include <algorithm>

#include "base/status.h"

namespace alpa::worker {

DeviceMemory::DeviceMemory(kernels::Backend& backend, Bytes limit)
    : backend_(backend), limit_(limit), used_(backend.device_count()) {}

absl::StatusOr<DeviceMemory::Share> DeviceMemory::Reserve(int device, Bytes size) {
  const Bytes before = used_[device].fetch_add(size);
  Share share(&used_[device], size);
  if (limit_ > 0 && size > limit_ - std::min(limit_, before)) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "device %d: cannot reserve %d bytes: %d are in use and %d are allowed; use more devices or more microbatches",
        device, size, before, limit_));
  }
  return share;
}

absl::StatusOr<std::unique_ptr<DeviceMemory::Allocation>> DeviceMemory::Allocate(int device, Bytes size) {
  size = std::max<Bytes>(size, 1);  // an empty array has a buffer, too
  ALPA_ASSIGN_OR_RETURN(Share share, Reserve(device, size));
  ALPA_ASSIGN_OR_RETURN(std::unique_ptr<kernels::Buffer> buffer, backend_.Allocate(device, size));
  return std::make_unique<Allocation>(std::move(buffer), std::move(share));
}

}  // namespace alpa::worker
