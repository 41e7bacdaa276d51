// Reads integers of any type from memory: starts of slices, indices of gathers, branch numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/graph.h"

namespace alpa::kernels::cpu {

class IndexReader {
 public:
  explicit IndexReader(graph::DType dtype) : dtype_(dtype) {}
  // Returns element i of the array at `data`. Unsigned 64-bit values above the signed range become the largest signed
  // value.
  int64_t Read(const std::byte* data, int64_t i) const {
    switch (dtype_) {
      case graph::DType::kS32:
        return At<int32_t>(data, i);
      case graph::DType::kU32:
        return At<uint32_t>(data, i);
      case graph::DType::kS64:
        return At<int64_t>(data, i);
      case graph::DType::kU64: {
        const uint64_t value = At<uint64_t>(data, i);
        return value > INT64_MAX ? INT64_MAX : static_cast<int64_t>(value);
      }
      case graph::DType::kS16:
        return At<int16_t>(data, i);
      case graph::DType::kU16:
        return At<uint16_t>(data, i);
      case graph::DType::kS8:
        return At<int8_t>(data, i);
      default:
        return At<uint8_t>(data, i);
    }
  }

 private:
  template <typename T>
  static T At(const std::byte* data, int64_t i) {
    return reinterpret_cast<const T*>(data)[i];
  }
  graph::DType dtype_;
};

}  // namespace alpa::kernels::cpu
