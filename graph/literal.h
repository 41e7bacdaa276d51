// A constant array: a shape, and dense row-major bytes in host byte order. Copies are cheap, because they share the
// immutable bytes.
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

  // Returns a literal that is filled with zeros.
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
  // Returns element i as a double, for comparisons with small numbers and for printing. Integers beyond 2^53 lose
  // digits.
  double ValueAt(int64_t i) const;
  // Returns whether every element equals `value`.
  bool AllEqual(double value) const;
  bool operator==(const Literal& other) const;

 private:
  Shape shape_;
  std::shared_ptr<const std::vector<std::byte>> bytes_ = std::make_shared<std::vector<std::byte>>();
};

// Returns a scalar of type `dtype` with this value. If the type is an integer type, a value out of range saturates and
// NaN becomes 0.
Literal ScalarOf(DType dtype, double value);

// Conversions between f32 and bf16 or f16. They round to nearest even and keep NaN.
float Bf16ToFloat(uint16_t bits);
uint16_t FloatToBf16(float value);
float F16ToFloat(uint16_t bits);
uint16_t FloatToF16(float value);

}  // namespace alpa::graph
