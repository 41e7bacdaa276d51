#include "graph/import_shape.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "base/status.h"

namespace alpa::graph::internal {
namespace {

// Values of XLA's PrimitiveType. The supported array types have the same numbers in graph::DType.
enum ElementType : int32_t { kTuple = 13, kOpaque = 14, kC64 = 15, kToken = 17, kC128 = 18 };

const char* NameOfUnsupported(int32_t type) {
  switch (type) {
    case 0:
      return "invalid";
    case kOpaque:
      return "opaque";
    case kC64:
      return "c64";
    case kToken:
      return "token";
    case kC128:
      return "c128";
    case 19:
      return "f8e5m2";
    case 20:
      return "f8e4m3fn";
    case 21:
      return "s4";
    case 22:
      return "u4";
    case 23:
      return "f8e4m3b11fnuz";
    case 24:
      return "f8e5m2fnuz";
    case 25:
      return "f8e4m3fnuz";
    case 26:
      return "s2";
    case 27:
      return "u2";
    case 28:
      return "f8e4m3";
    case 29:
      return "f8e3m4";
    case 30:
      return "s1";
    case 31:
      return "u1";
    case 32:
      return "f4e2m1fn";
    case 33:
      return "f8e8m0fnu";
    default:
      return nullptr;
  }
}

absl::StatusOr<DType> ReadDType(int32_t type) {
  if ((type >= static_cast<int32_t>(DType::kPred) && type <= static_cast<int32_t>(DType::kF64)) ||
      type == static_cast<int32_t>(DType::kBF16)) {
    return static_cast<DType>(type);
  }
  if (type == 0) return InvalidArgument("has no element type");
  const char* name = NameOfUnsupported(type);
  if (name == nullptr) return InvalidArgument("element type %d is unknown", type);
  return Unimplemented("element type %s is not supported", name);
}

absl::StatusOr<Shape> ReadArrayShape(const hlo::ArrayShape& in, const ImportLimits& limits) {
  ALPA_ASSIGN_OR_RETURN(const DType dtype, ReadDType(in.element_type()));
  if (in.dimensions_size() > limits.max_rank) {
    return InvalidArgument("shape has %d dimensions; at most %d are allowed", in.dimensions_size(),
                           limits.max_rank);
  }
  for (const bool dynamic : in.is_dynamic_dimension()) {
    if (dynamic) return Unimplemented("dynamic dimensions are not supported");
  }
  Shape shape{dtype, {in.dimensions().begin(), in.dimensions().end()}};
  int64_t bytes = SizeOf(dtype);
  for (int64_t dim : shape.dims) {
    if (dim < 0) return InvalidArgument("shape %s has a negative dimension", shape.ToString());
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes)) {
      return InvalidArgument("shape %s has a size in bytes that does not fit in 64 bits", shape.ToString());
    }
  }
  return shape;
}

absl::Status AddLeaves(const hlo::ArrayShape& in, const ImportLimits& limits, std::vector<Shape>* out) {
  if (in.element_type() != kTuple) {
    ALPA_ASSIGN_OR_RETURN(Shape shape, ReadArrayShape(in, limits));
    out->push_back(std::move(shape));
    return absl::OkStatus();
  }
  for (const hlo::ArrayShape& element : in.tuple_shapes())
    ALPA_RETURN_IF_ERROR(AddLeaves(element, limits, out));
  return absl::OkStatus();
}

template <typename T, typename Numbers>
absl::StatusOr<std::vector<std::byte>> Pack(const Numbers& numbers, int64_t elements) {
  if (numbers.size() != elements)
    return InvalidArgument("the number of values is %d, but must be %d", numbers.size(), elements);
  std::vector<std::byte> bytes(static_cast<size_t>(elements) * sizeof(T));
  for (int64_t i = 0; i < elements; ++i) {
    const T value = static_cast<T>(numbers[static_cast<int>(i)]);
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

absl::StatusOr<std::vector<std::byte>> Pack(const std::string& data, const Shape& shape) {
  if (static_cast<Bytes>(data.size()) != shape.bytes()) {
    return InvalidArgument("the number of bytes is %d, but must be %d", data.size(), shape.bytes());
  }
  std::vector<std::byte> bytes(data.size());
  if (!data.empty()) std::memcpy(bytes.data(), data.data(), data.size());
  return bytes;
}

absl::StatusOr<std::vector<std::byte>> ReadBytes(const hlo::LiteralValue& in, const Shape& shape) {
  const int64_t n = shape.elements();
  switch (shape.dtype) {
    case DType::kPred:
      return Pack<uint8_t>(in.preds(), n);
    case DType::kS8:
      return Pack(in.s8s(), shape);
    case DType::kS16:
      return Pack(in.s16s(), shape);
    case DType::kS32:
      return Pack<int32_t>(in.s32s(), n);
    case DType::kS64:
      return Pack<int64_t>(in.s64s(), n);
    case DType::kU8:
      return Pack(in.u8s(), shape);
    case DType::kU16:
      return Pack(in.u16s(), shape);
    case DType::kU32:
      return Pack<uint32_t>(in.u32s(), n);
    case DType::kU64:
      return Pack<uint64_t>(in.u64s(), n);
    case DType::kF16:
      return Pack(in.f16s(), shape);
    case DType::kF32:
      return Pack<float>(in.f32s(), n);
    case DType::kF64:
      return Pack<double>(in.f64s(), n);
    case DType::kBF16:
      return Pack(in.bf16s(), shape);
  }
  return InvalidArgument("element type is unknown");
}

}  // namespace

absl::StatusOr<std::vector<Shape>> LeafShapes(const hlo::ArrayShape& in, const ImportLimits& limits) {
  std::vector<Shape> shapes;
  ALPA_RETURN_IF_ERROR(AddLeaves(in, limits, &shapes));
  return shapes;
}

int64_t LeafCount(const hlo::ArrayShape& in) {
  if (in.element_type() != kTuple) return 1;
  int64_t count = 0;
  for (const hlo::ArrayShape& element : in.tuple_shapes()) count += LeafCount(element);
  return count;
}

absl::StatusOr<Literal> ReadLiteral(const hlo::LiteralValue& in, const ImportLimits& limits) {
  if (in.shape().element_type() == kTuple) return Unimplemented("tuple literals are not supported");
  ALPA_ASSIGN_OR_RETURN(Shape shape, ReadArrayShape(in.shape(), limits));
  // The layout gives the order of the values. JAX writes row-major literals. Any other order would need a transpose.
  const auto& order = in.shape().layout().minor_to_major();
  for (int i = 0; i < order.size() && shape.elements() > 1; ++i) {
    if (order.size() != shape.rank() || order[i] != shape.rank() - 1 - i) {
      return Unimplemented("a literal with a layout that is not row-major is not supported");
    }
  }
  absl::StatusOr<std::vector<std::byte>> bytes = ReadBytes(in, shape);
  if (!bytes.ok()) return Annotate(bytes.status(), absl::StrCat("literal ", shape.ToString()));
  return Literal(std::move(shape), *std::move(bytes));
}

std::string Safe(const std::string& text) {
  constexpr size_t kLongest = 200;  // bytes of input
  std::string safe = absl::Utf8SafeCHexEscape(text.substr(0, kLongest));
  // The limit may have cut a character in two, so `safe` may be invalid UTF-8. If so, escape all non-ASCII bytes of the
  // text instead.
  for (size_t i = 0; i < safe.size();) {
    const unsigned char c = static_cast<unsigned char>(safe[i]);
    const size_t length = c < 0x80                ? 1
                          : c >= 0xc2 && c < 0xe0 ? 2
                          : c >= 0xe0 && c < 0xf0 ? 3
                          : c >= 0xf0 && c < 0xf5 ? 4
                                                  : 0;
    bool good = length > 0 && i + length <= safe.size();
    for (size_t j = 1; good && j < length; ++j)
      good = (static_cast<unsigned char>(safe[i + j]) & 0xc0) == 0x80;
    if (!good) return absl::CHexEscape(text.substr(0, kLongest));
    i += length;
  }
  return text.size() > kLongest ? safe + "..." : safe;
}

std::string SourcePosition(const hlo::Metadata& metadata, const hlo::StackFrames& frames) {
  const auto position = [](const std::string& file, int32_t line) {
    const size_t slash = file.rfind('/');
    return absl::StrCat(Safe(slash == std::string::npos ? file : file.substr(slash + 1)), ":", line);
  };
  // The walk visits at most 64 frames, because the frames of hostile input may form a cycle.
  std::string innermost;
  int32_t id = metadata.stack_frame_id();
  for (int depth = 0; depth < 64 && id >= 1 && id <= frames.frames_size(); ++depth) {
    const hlo::StackFrames::Frame& frame = frames.frames(id - 1);
    const int32_t location_id = frame.file_location_id();
    if (location_id < 1 || location_id > frames.file_locations_size()) break;
    const hlo::StackFrames::FileLocation& location = frames.file_locations(location_id - 1);
    if (location.file_name_id() < 1 || location.file_name_id() > frames.file_names_size()) break;
    const std::string& file = frames.file_names(location.file_name_id() - 1);
    if (!absl::StrContains(file, "site-packages") && !absl::StrContains(file, "dist-packages")) {
      return position(file, location.line());
    }
    if (innermost.empty()) innermost = position(file, location.line());
    id = frame.parent_frame_id();
  }
  if (!innermost.empty()) return innermost;
  return metadata.source_file().empty() ? "" : position(metadata.source_file(), metadata.source_line());
}

}  // namespace alpa::graph::internal
