#include "kernels/cpu/dense_operand.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/tile_prims.h"

namespace alpa::kernels::cpu {

using graph::DType;

DenseOperand::DenseOperand(const graph::Shape& shape, const std::vector<int64_t>& order,
                           const std::vector<int64_t>& reversed, DType type, ScratchLayout& scratch)
    : from_(shape.dtype), to_(type), elements_(shape.elements()) {
  std::vector<int64_t> strides = graph::Strides(shape.dims);
  int64_t offset = 0;
  for (int64_t d : reversed) {
    offset += (shape.dims[d] - 1) * strides[d];
    strides[d] = -strides[d];
  }
  const int element = static_cast<int>(graph::SizeOf(from_));
  StridedCopy packing(shape.dims, strides, offset, StridesInOrder(shape.dims, order), 0, element);
  if (elements_ > 0 && !packing.IsRun()) {
    packing_ = std::make_shared<const StridedCopy>(std::move(packing));
    packed_at_ = scratch.Take(shape.bytes());
  }
  if (from_ != to_) widened_at_ = scratch.Take(elements_ * graph::SizeOf(to_));
}

const std::byte* DenseOperand::Ready(const std::byte* operand, std::byte* scratch, ThreadPool& pool) const {
  if (packing_ != nullptr) {
    packing_->Run(operand, scratch + packed_at_, pool);
    operand = scratch + packed_at_;
  }
  if (widened_at_ < 0) return operand;
  ConvertFloats(from_, operand, to_, scratch + widened_at_, elements_, pool);
  return scratch + widened_at_;
}

void ConvertFloats(DType from_type, const std::byte* from, DType to_type, std::byte* to, int64_t n, ThreadPool& pool) {
  // Loads from memory to a register, converts to a register of the other type, and stores to memory. Skips each step
  // that changes nothing.
  Prim steps[3];
  int count = 0;
  for (Prim step : {LoadPrim(from_type), ConvertPrim(from_type, to_type), StorePrim(to_type)}) {
    if (step != nullptr) steps[count++] = step;
  }
  const Bytes from_size = graph::SizeOf(from_type), to_size = graph::SizeOf(to_type);
  pool.For(n, 16384, [&](int64_t begin, int64_t end) {
    constexpr int64_t kPiece = 512;  // number of elements that each pass over the steps converts
    alignas(64) std::byte registers[2][kPiece * 8];
    for (int64_t i = begin; i < end; i += kPiece) {
      const int64_t m = std::min(kPiece, end - i);
      const void* at = from + i * from_size;
      for (int s = 0; s < count; ++s) {
        void* next = s + 1 == count ? static_cast<void*>(to + i * to_size) : registers[s % 2];
        steps[s](m, next, at, nullptr, nullptr);
        at = next;
      }
      if (count == 0) std::memcpy(to + i * to_size, at, static_cast<size_t>(m * to_size));
    }
  });
}

}  // namespace alpa::kernels::cpu
