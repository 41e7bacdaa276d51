#include "worker/core/device_copy.h"

#include <cstring>

namespace alpa::worker {
namespace {
constexpr std::byte kZero[1] = {};
}

void DeviceCopy::Write(int device, kernels::Buffer& buffer, Bytes offset, std::span<const std::byte> source) {
  if (source.empty()) return;
  if (direct_) {
    std::memcpy(buffer.data() + offset, source.data(), source.size());
  } else {
    backend_.CopyToDevice(device, source, buffer, offset);
  }
}

void DeviceCopy::Read(int device, kernels::Buffer& buffer, Bytes offset, std::span<std::byte> destination) {
  if (destination.empty()) return;
  if (direct_) {
    std::memcpy(destination.data(), buffer.data() + offset, destination.size());
  } else {
    backend_.CopyToHost(device, buffer, offset, destination);
  }
}

void DeviceCopy::Zero(int device, kernels::Buffer& buffer) {
  if (direct_) {
    std::memset(buffer.data(), 0, static_cast<size_t>(buffer.size()));
  } else {
    backend_.Fill(device, buffer, kZero);
  }
}

absl::Status DeviceCopy::Flush(int device) {
  return direct_ ? absl::OkStatus() : backend_.stream(device).Record()->Wait();
}

}  // namespace alpa::worker
