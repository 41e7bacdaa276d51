// Element types and array shapes, for the whole project. Arrays are dense and row-major. Import ignores the layouts in
// HLO, except that it refuses literals that are not row-major.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/units.h"

namespace alpa::graph {

// The numbers are stable, because serialized graphs contain them. They equal the numbers of XLA's PrimitiveType.
enum class DType : uint8_t {
  kPred = 1, kS8 = 2, kS16 = 3, kS32 = 4, kS64 = 5, kU8 = 6, kU16 = 7, kU32 = 8, kU64 = 9,
  kF16 = 10, kF32 = 11, kF64 = 12, kBF16 = 16,
};

Bytes SizeOf(DType dtype);                 // bytes per element; 1 for kPred
absl::string_view NameOf(DType dtype);     // as in HLO text: "f32", "bf16", "pred", ...
absl::StatusOr<DType> ParseDType(absl::string_view name);
bool IsFloat(DType dtype);
bool IsSigned(DType dtype);                // signed integers only
bool IsInteger(DType dtype);               // signed or unsigned, not kPred

// An array's element type and dimensions. Rank 0 is a scalar. A dimension may be 0.
struct Shape {
  DType dtype = DType::kF32;
  std::vector<int64_t> dims;

  int rank() const { return static_cast<int>(dims.size()); }
  int64_t elements() const;                // product of dims; saturates at the largest int64_t
  Bytes bytes() const { return elements() * SizeOf(dtype); }
  std::string ToString() const;            // "f32[2,3]"
  bool operator==(const Shape&) const = default;
};

// Returns the row-major strides, in elements.
std::vector<int64_t> Strides(const std::vector<int64_t>& dims);

}  // namespace alpa::graph
