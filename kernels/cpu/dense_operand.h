// An operand as a dense array of T, its dimensions in an order of one's choice: the operand itself where it lies so,
// else a copy in the unit's scratch memory. 16-bit floats become f32 or f64 on the way.
#pragma once

#include <functional>
#include <memory>

#include "kernels/cpu/copy.h"
#include "kernels/cpu/kernel.h"

namespace alpa::kernels::cpu {

// Parts of a unit's scratch memory, in the order in which they are asked for.
class ScratchLayout {
 public:
  // The part's offset.
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
  // Dimensions order[0], order[1], ... from the slowest; those in `reversed` are walked backwards. `type`: the
  // operand's, or kF32 or kF64 for any type of floats.
  DenseOperand(const graph::Shape& shape, const std::vector<int64_t>& order, const std::vector<int64_t>& reversed,
               graph::DType type, ScratchLayout& scratch);

  // Copies where it has to. The result is valid while the operand and the scratch memory are left alone.
  const std::byte* Ready(const std::byte* operand, std::byte* scratch, ThreadPool& pool) const;
  template <typename T>
  const T* Ready(const std::byte* operand, std::byte* scratch, ThreadPool& pool) const {
    return reinterpret_cast<const T*>(Ready(operand, scratch, pool));
  }

 private:
  std::shared_ptr<const StridedCopy> packing_;  // null: lies in order
  Bytes packed_at_ = 0, widened_at_ = -1;       // in scratch; -1: not widened
  graph::DType from_ = graph::DType::kF32, to_ = graph::DType::kF32;
  int64_t elements_ = 0;
};

// n elements from one type of floats to another, shared out among threads.
void ConvertFloats(graph::DType from_type, const std::byte* from, graph::DType to_type, std::byte* to, int64_t n,
                   ThreadPool& pool);

}  // namespace alpa::kernels::cpu
