// Copies host data into and out of device buffers. If the host can address device memory, a copy happens at once and
// bypasses the stream, so an upload need not wait for queued steps. Otherwise the copy is enqueued, and Flush waits for
// it.
//
// Threads: thread-safe for different buffers. The caller ensures that no queued work touches the bytes during the copy.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "kernels/backend.h"

namespace alpa::worker {

class DeviceCopy {
 public:
  explicit DeviceCopy(kernels::Backend& backend) : backend_(backend), direct_(backend.host_addressable()) {}
  // The host memory must stay valid until Flush(device) has returned.
  void Write(int device, kernels::Buffer& buffer, Bytes offset, std::span<const std::byte> source);
  void Read(int device, kernels::Buffer& buffer, Bytes offset, std::span<std::byte> destination);
  void Zero(int device, kernels::Buffer& buffer);
  // Waits for the device's enqueued copies. Returns the stream's failure, if any.
  absl::Status Flush(int device);

 private:
  kernels::Backend& backend_;
  const bool direct_;
};

}  // namespace alpa::worker
