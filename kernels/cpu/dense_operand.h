// Provides an operand as a dense array of T, with its dimensions in a chosen order. If the operand already has this
// order, the array is the operand itself. Otherwise the array is a copy in the unit's scratch memory. The copy can also
// convert 16-bit floats to f32 or f64.
#pragma once

#include <functional>
#include <memory>

#include "kernels/cpu/copy.h"
#include "kernels/cpu/kernel.h"

namespace alpa::kernels::cpu {

// Divides a unit's scratch memory into parts. Each call of Take adds a part after the existing parts.
class ScratchLayout {
 public:
  // Adds a part of `size` bytes, and returns its offset.
  Bytes Take(Bytes size) {
    const Bytes at = size_;
    size_ += (size + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  Bytes size() const { return size_; }

 private:
  Bytes size_ = 0;
};

class DenseOperand {
 public:
  DenseOperand() = default;
  // order[0], order[1], ... are the operand's dimensions from the slowest to the fastest. The dimensions in `reversed`
  // are walked backwards. `type` is the element type of the dense array: the operand's own type, or for floats also
  // kF32 or kF64.
  DenseOperand(const graph::Shape& shape, const std::vector<int64_t>& order, const std::vector<int64_t>& reversed,
               graph::DType type, ScratchLayout& scratch);

  // Returns the dense array. Copies the operand if necessary. The array is valid as long as the operand and the scratch
  // memory are unchanged.
  const std::byte* Ready(const std::byte* operand, std::byte* scratch, ThreadPool& pool) const;
  template <typename T>
  const T* Ready(const std::byte* operand, std::byte* scratch, ThreadPool& pool) const {
    return reinterpret_cast<const T*>(Ready(operand, scratch, pool));
  }

 private:
  std::shared_ptr<const StridedCopy> packing_;  // null: the operand already has the chosen order
  Bytes packed_at_ = 0, widened_at_ = -1;       // offsets in scratch; widened_at_ is -1 if the operand is not widened
  graph::DType from_ = graph::DType::kF32, to_ = graph::DType::kF32;
  int64_t elements_ = 0;
};

// Converts n elements from one float type to another, with the threads of `pool`.
void ConvertFloats(graph::DType from_type, const std::byte* from, graph::DType to_type, std::byte* to, int64_t n,
                   ThreadPool& pool);

}  // namespace alpa::kernels::cpu
