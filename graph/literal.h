// A constant array: shape and dense row-major bytes in host byte order. Cheap to copy (bytes are shared, immutable).
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "graph/shape.h"

namespace alpa::graph {

class Literal {
 public:
  Literal() = default;
  // REQUIRES: bytes.size() == shape.bytes().
  Literal(Shape shape, std::vector<std::byte> bytes);

  // Zero-filled.
  static Literal Zeros(Shape shape);
  template <typename T>
  static Literal Scalar(DType dtype, T value) {
    std::vector<std::byte> bytes(sizeof(T));
    std::memcpy(bytes.data(), &value, sizeof(T));
    return Literal(Shape{dtype, {}}, std::move(bytes));
  }

  const Shape& shape() const { return shape_; }
  std::span<const std::byte> bytes() const { return {bytes_->data(), bytes_->size()}; }
  template <typename T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes_->data()), bytes_->size() / sizeof(T)};
  }
  // Element i read as a double (integers beyond 2^53 lose digits); for tests of "is it zero, one, ..." and printing.
  double ValueAt(int64_t i) const;
  // Every element equal to `value`, e.g. AllEqual(0).
  bool AllEqual(double value) const;
  bool operator==(const Literal& other) const;

 private:
  Shape shape_;
  std::shared_ptr<const std::vector<std::byte>> bytes_ = std::make_shared<std::vector<std::byte>>();
};

// bf16 and f16 <-> f32, round to nearest even, NaN kept.
float Bf16ToFloat(uint16_t bits);
uint16_t FloatToBf16(float value);
float F16ToFloat(uint16_t bits);
uint16_t FloatToF16(float value);

}  // namespace alpa::graph
