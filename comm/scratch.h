// Memory that a group keeps between calls.
//
// Threads: only one thread at a time may use it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace alpa::comm {

class Scratch {
 public:
  // Returns `bytes` bytes, aligned for every element type. Invalidates the memory that earlier calls returned.
  std::span<std::byte> Get(size_t bytes) {
    if (bytes > size_) {
      memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
      size_ = bytes;
    }
    return {memory_.get(), bytes};
  }

 private:
  std::unique_ptr<std::byte[]> memory_;
  size_t size_ = 0;
};

}  // namespace alpa::comm
