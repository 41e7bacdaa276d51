#include "graph/shape.h"

#include <array>
#include <limits>

#include "base/status.h"

namespace alpa::graph {
namespace {

struct DTypeRow {
  DType dtype;
  const char* name;
  Bytes size;
};
constexpr std::array<DTypeRow, 13> kDTypes = {{
    {DType::kPred, "pred", 1},
    {DType::kS8, "s8", 1},
    {DType::kS16, "s16", 2},
    {DType::kS32, "s32", 4},
    {DType::kS64, "s64", 8},
    {DType::kU8, "u8", 1},
    {DType::kU16, "u16", 2},
    {DType::kU32, "u32", 4},
    {DType::kU64, "u64", 8},
    {DType::kF16, "f16", 2},
    {DType::kF32, "f32", 4},
    {DType::kF64, "f64", 8},
    {DType::kBF16, "bf16", 2},
}};

const DTypeRow& RowOf(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return row;
  }
  ALPA_CHECK(false && "not an element type");
}

}  // namespace

Bytes SizeOf(DType dtype) { return RowOf(dtype).size; }
absl::string_view NameOf(DType dtype) { return RowOf(dtype).name; }

absl::StatusOr<DType> ParseDType(absl::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (name == row.name) return row.dtype;
  }
  return InvalidArgument(
      "\"%s\" is not a supported element type (pred, s8-s64, u8-u64, f16, bf16, f32, f64)", name);
}

bool IsFloat(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kF32 || dtype == DType::kF64 || dtype == DType::kBF16;
}
bool IsSigned(DType dtype) { return dtype >= DType::kS8 && dtype <= DType::kS64; }
bool IsInteger(DType dtype) { return dtype >= DType::kS8 && dtype <= DType::kU64; }

int64_t Shape::elements() const {
  int64_t product = 1;
  bool overflow = false;
  for (int64_t dim : dims) {
    if (dim == 0) return 0;
    if (__builtin_mul_overflow(product, dim, &product)) overflow = true;
  }
  return overflow ? std::numeric_limits<int64_t>::max() : product;
}

std::string Shape::ToString() const {
  std::string text(NameOf(dtype));
  text += "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) text += ",";
    text += std::to_string(dims[i]);
  }
  return text + "]";
}

std::vector<int64_t> Strides(const std::vector<int64_t>& dims) {
  std::vector<int64_t> strides(dims.size());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return strides;
}

}  // namespace alpa::graph
