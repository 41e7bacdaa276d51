// Host data into and out of device buffers. Where the host can address device memory the copy happens at once, past the
// stream, so that an upload need not wait for queued steps; elsewhere it is enqueued, and Flush waits for it.
//
// Threads: thread-safe for different buffers. The caller sees to it that no queued work touches the bytes meanwhile.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "kernels/backend.h"

namespace alpa::worker {

class DeviceCopy {
 public:
  explicit DeviceCopy(kernels::Backend& backend) : backend_(backend), direct_(backend.host_addressable()) {}
  // The host memory must stay until Flush(device) returned.
  void Write(int device, kernels::Buffer& buffer, Bytes offset, std::span<const std::byte> source);
  void Read(int device, kernels::Buffer& buffer, Bytes offset, std::span<std::byte> destination);
  void Zero(int device, kernels::Buffer& buffer);
  absl::Status Flush(int device);

 private:
  kernels::Backend& backend_;
  const bool direct_;
};

}  // namespace alpa::worker
